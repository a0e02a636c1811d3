rule study:
    input:
        inputs("study"),
    output:
        f"{RESULTS}/{{run}}/study/{{method}}/manifest.json",
        report(
            f"{RESULTS}/{{run}}/study/{{method}}/trials.csv",
            caption="../report/trials.rst",
            category="{run}",
            subcategory="searches",
        ),
        report(
            expand(
                "{results}/{{run}}/study/{{method}}/{figure}.png",
                results=RESULTS,
                figure=["history", "importance"],
            ),
            caption="../report/search.rst",
            category="{run}",
            subcategory="searches",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/study/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/study/{{method}}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("study"),
    message:
        "{wildcards.run}: study of {wildcards.method}"
    shell:
        f"{ASKED}"
        f"python -m nunatak study --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} > {{log}} 2>&1"
