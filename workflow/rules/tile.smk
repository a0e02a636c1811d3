checkpoint tile:
    input:
        inputs("tile"),
    output:
        f"{RESULTS}/{{run}}/tile/manifest.json",
        report(
            f"{RESULTS}/{{run}}/tile/overlap.json",
            caption="../report/overlap.rst",
            category="{run}",
            subcategory="splits",
        ),
        report(
            f"{RESULTS}/{{run}}/tile/split.png",
            caption="../report/split.rst",
            category="{run}",
            subcategory="splits",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/tile.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/tile.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: lambda wildcards: cores("tile", RECIPES[wildcards.run])
    resources:
        **asks("tile"),
    params:
        crew=crew_options,
    message:
        "{wildcards.run}: tile"
    shell:
        f"{ASKED}"
        f"python -m nunatak tile --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS}{{params.crew}} > {{log}} 2>&1"
