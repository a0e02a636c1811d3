rule skill:
    input:
        inputs("skill"),
    output:
        f"{RESULTS}/{{run}}/evaluate/forecast.json",
        report(
            expand(
                "{results}/{{run}}/evaluate/forecast.{suffix}",
                results=RESULTS,
                suffix=["csv", "md"],
            ),
            caption="../report/forecast.rst",
            category="{run}",
            subcategory="tables",
        ),
        report(
            f"{RESULTS}/{{run}}/evaluate/forecast.png",
            caption="../report/forecast.rst",
            category="{run}",
            subcategory="figures",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/evaluate/forecast.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/evaluate/forecast.tsv"
    conda:
        "../../envs/plot.yaml"
    resources:
        **asks("skill"),
    message:
        "{wildcards.run}: skill of the forecasts"
    shell:
        f"{ASKED}"
        f"python -m nunatak skill --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} > {{log}} 2>&1"
