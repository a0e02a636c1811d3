rule download:
    output:
        f"{RESULTS}/download/{{source}}.json",
    log:
        f"{RESULTS}/logs/download/{{source}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/download/{{source}}.tsv"
    conda:
        "../../envs/fetch.yaml"
    resources:
        **asks("download"),
    params:
        recipe=lender,
    message:
        "download {wildcards.source}"
    shell:
        f"{ASKED}"
        "python -m nunatak download --recipe {params.recipe} --source {wildcards.source}"
        f" --results {RESULTS} --data {DATA} > {{log}} 2>&1"
