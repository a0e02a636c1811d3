rule rescale:
    input:
        inputs("rescale"),
    output:
        map=f"{RESULTS}/{{run}}/rescale/{{method}}/{{scale}}.tif",
        record=report(
            f"{RESULTS}/{{run}}/rescale/{{method}}/{{scale}}.provenance.json",
            caption="../report/provenance.rst",
            category="{run}",
            subcategory="products",
        ),
    log:
        f"{RESULTS}/logs/{{run}}/rescale/{{method}}/{{scale}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/rescale/{{method}}/{{scale}}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("rescale"),
    message:
        "{wildcards.run}: rescale {wildcards.method} to {wildcards.scale}"
    shell:
        f"{ASKED}"
        f"python -m nunatak rescale --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} --scale {{wildcards.scale}}"
        " > {log} 2>&1"
