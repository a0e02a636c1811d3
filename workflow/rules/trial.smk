rule trial:
    input:
        inputs("trial"),
    output:
        f"{RESULTS}/{{run}}/trial/{{method}}/{{trial}}/manifest.json",
    log:
        f"{RESULTS}/logs/{{run}}/trial/{{method}}/{{trial}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/trial/{{method}}/{{trial}}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("trial"),
    params:
        spread=trial_options,
    message:
        "{wildcards.run}: trial {wildcards.trial} of {wildcards.method}"
    shell:
        f"{ASKED}"
        f"exec python -m nunatak trial --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} --trial {{wildcards.trial}}"
        "{params.spread} > {log} 2>&1"
