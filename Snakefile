# nunatak: high-resolution maps of ice and ocean, redone only where something changed.
#
#   snakemake --cores 2                                      the synthetic world
#   snakemake --cores 2 --configfile config/byrd.yaml        Byrd Glacier, real data
#   snakemake --cores 2 tune                                 the searches of the recipes
from snakemake.utils import min_version

min_version("9.27")

if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/scan.smk"
include: "workflow/rules/reproject.smk"
include: "workflow/rules/degrade.smk"
include: "workflow/rules/tile.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/infer.smk"
include: "workflow/rules/mosaic.smk"
include: "workflow/rules/publish.smk"
include: "workflow/rules/rescale.smk"
include: "workflow/rules/series.smk"
include: "workflow/rules/stations.smk"
include: "workflow/rules/forecast.smk"
include: "workflow/rules/skill.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/trial.smk"
include: "workflow/rules/study.smk"


# When all rules are known: what jobs are told, and what is done.
ENVIRONMENTS = environments()
shell.prefix(
    f"export PYTHONPATH='{SOURCE}'${{{{PYTHONPATH:+:$PYTHONPATH}}}} {setting(ENVIRONMENTS)}; "
)
SETTLED = Settled(RECIPES, Path(RESULTS), Path(DATA), ENVIRONMENTS) if MAIN else None

# Snakemake looks a second time at every job behind a checkpoint, even if none waits for it.
for gate in ("scan", "tile"):
    workflow.get_rule(gate).is_checkpoint = bool(SETTLED) and SETTLED.waits(gate)


rule all:
    default_target: True
    input:
        everything(),


rule tune:
    input:
        searches,
