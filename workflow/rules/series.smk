rule series:
    input:
        inputs("series"),
    output:
        f"{RESULTS}/{{run}}/series/manifest.json",
        f"{RESULTS}/{{run}}/series/fronts.gpkg",
        report(
            f"{RESULTS}/{{run}}/series/series.csv",
            caption="../report/series.rst",
            category="{run}",
            subcategory="tables",
        ),
        report(
            expand(
                "{results}/{{run}}/series/{figure}.png",
                results=RESULTS,
                figure=["series", "map"],
            ),
            caption="../report/series.rst",
            category="{run}",
            subcategory="figures",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/series.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/series.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        **asks("series"),
    message:
        "{wildcards.run}: series"
    shell:
        f"{ASKED}"
        f"python -m nunatak series --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} > {{log}} 2>&1"
