rule mosaic:
    input:
        inputs("mosaic"),
    output:
        f"{RESULTS}/{{run}}/mosaic/{{method}}/{{block}}.json",
    log:
        f"{RESULTS}/logs/{{run}}/mosaic/{{method}}/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/mosaic/{{method}}/{{block}}.tsv"
    conda:
        "../../envs/array.yaml"
    resources:
        **asks("mosaic"),
    message:
        "{wildcards.run}: mosaic {wildcards.method}, block {wildcards.block}"
    shell:
        f"{ASKED}"
        f"python -m nunatak mosaic --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} --block {{wildcards.block}} > {{log}} 2>&1"
