rule reproject:
    input:
        inputs("reproject"),
    output:
        f"{RESULTS}/{{run}}/reproject/{{role}}/{{block}}.json",
    log:
        f"{RESULTS}/logs/{{run}}/reproject/{{role}}/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/reproject/{{role}}/{{block}}.tsv"
    conda:
        "../../envs/geo.yaml"
    resources:
        **asks("reproject"),
    message:
        "{wildcards.run}: reproject {wildcards.role}, block {wildcards.block}"
    shell:
        f"{ASKED}"
        f"python -m nunatak reproject --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --data {DATA} --role {{wildcards.role}} --block {{wildcards.block}} > {{log}} 2>&1"
