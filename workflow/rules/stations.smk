rule stations:
    input:
        inputs("stations"),
    output:
        f"{RESULTS}/{{run}}/stations/manifest.json",
    log:
        f"{RESULTS}/logs/{{run}}/stations.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/stations.tsv"
    conda:
        "../../envs/geo.yaml"
    resources:
        **asks("stations"),
    message:
        "{wildcards.run}: series of stations"
    shell:
        f"{ASKED}"
        f"python -m nunatak stations --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --data {DATA} > {{log}} 2>&1"
