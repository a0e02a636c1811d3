rule train:
    input:
        inputs("train"),
    output:
        manifest=f"{RESULTS}/{{run}}/train/{{method}}/{{member}}/manifest.json",
        figure=report(
            f"{RESULTS}/{{run}}/train/{{method}}/{{member}}/loss.png",
            caption="../report/loss.rst",
            category="{run}",
            subcategory="training",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/train/{{method}}/{{member}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/train/{{method}}/{{member}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        **asks("train"),
    params:
        launcher=train_launcher,
        spread=train_options,
    message:
        "{wildcards.run}: train {wildcards.method}, member {wildcards.member}"
    shell:
        f"{ASKED}"
        "exec {params.launcher}python -m nunatak train "
        f"--recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} --member {{wildcards.member}}"
        "{params.spread} > {log} 2>&1"
