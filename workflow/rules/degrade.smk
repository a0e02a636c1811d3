rule degrade:
    input:
        inputs("degrade"),
    output:
        f"{RESULTS}/{{run}}/degrade/coarse/{{block}}.json",
    log:
        f"{RESULTS}/logs/{{run}}/degrade/coarse/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/degrade/coarse/{{block}}.tsv"
    conda:
        "../../envs/array.yaml"
    resources:
        **asks("degrade"),
    message:
        "{wildcards.run}: degrade block {wildcards.block}"
    shell:
        f"{ASKED}"
        f"python -m nunatak degrade --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --block {{wildcards.block}} > {{log}} 2>&1"
