rule evaluate:
    input:
        inputs("evaluate"),
    output:
        f"{RESULTS}/{{run}}/evaluate/manifest.json",
        report(
            expand(
                "{results}/{{run}}/evaluate/metrics.{suffix}",
                results=RESULTS,
                suffix=["csv", "md"],
            ),
            caption="../report/metrics.rst",
            category="{run}",
            subcategory="tables",
        ),
        report(
            expand(
                "{results}/{{run}}/evaluate/{figure}.png",
                results=RESULTS,
                figure=["panels", "map", "charts"],
            ),
            caption="../report/figures.rst",
            category="{run}",
            subcategory="figures",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/evaluate.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/evaluate.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: lambda wildcards: cores("evaluate", RECIPES[wildcards.run])
    resources:
        **asks("evaluate"),
    params:
        crew=crew_options,
    message:
        "{wildcards.run}: evaluate"
    shell:
        f"{ASKED}"
        f"python -m nunatak evaluate --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --data {DATA}{{params.crew}} > {{log}} 2>&1"
