rule forecast:
    input:
        inputs("forecast"),
    output:
        f"{RESULTS}/{{run}}/forecast/{{method}}/manifest.json",
    log:
        f"{RESULTS}/logs/{{run}}/forecast/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/forecast/{{method}}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("forecast"),
    message:
        "{wildcards.run}: forecast by {wildcards.method}"
    shell:
        f"{ASKED}"
        f"python -m nunatak forecast --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} > {{log}} 2>&1"
