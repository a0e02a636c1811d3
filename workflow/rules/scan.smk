checkpoint scan:
    input:
        inputs("scan"),
    output:
        f"{RESULTS}/{{run}}/scan/{{source}}.json",
    log:
        f"{RESULTS}/logs/{{run}}/scan/{{source}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/scan/{{source}}.tsv"
    conda:
        "../../envs/geo.yaml"
    resources:
        **asks("scan"),
    message:
        "{wildcards.run}: scan {wildcards.source}"
    shell:
        f"{ASKED}"
        f"python -m nunatak scan --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --data {DATA} --source {{wildcards.source}} > {{log}} 2>&1"
