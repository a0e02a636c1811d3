rule publish:
    input:
        inputs("publish"),
    output:
        map=f"{RESULTS}/{{run}}/publish/{{method}}.tif",
        record=report(
            f"{RESULTS}/{{run}}/publish/{{method}}.provenance.json",
            caption="../report/provenance.rst",
            category="{run}",
            subcategory="products",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/publish/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/publish/{{method}}.tsv"
    conda:
        "../../envs/geo.yaml"
    resources:
        **asks("publish"),
    message:
        "{wildcards.run}: publish {wildcards.method}"
    shell:
        f"{ASKED}"
        f"python -m nunatak publish --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} > {{log}} 2>&1"
