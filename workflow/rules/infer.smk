rule infer:
    input:
        inputs("infer"),
    output:
        f"{RESULTS}/{{run}}/infer/{{method}}/{{member}}/{{block}}.json",
    log:
        f"{RESULTS}/logs/{{run}}/infer/{{method}}/{{member}}/{{block}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{run}}/infer/{{method}}/{{member}}/{{block}}.tsv"
    conda:
        "../../envs/torch.yaml"
    resources:
        **asks("infer"),
    message:
        "{wildcards.run}: infer {wildcards.method}, member {wildcards.member}, block {wildcards.block}"
    shell:
        f"{ASKED}"
        f"python -m nunatak infer --recipe {RESULTS}/{{wildcards.run}}/recipe.json"
        f" --results {RESULTS} --method {{wildcards.method}} --member {{wildcards.member}}"
        " --block {wildcards.block} > {log} 2>&1"
