"""The files of cluster/ against the schemas of Kubernetes, KubeRay, Ray and EC2, and against the job's settings."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from botocore.credentials import EnvProvider
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli

from jobs.console.command_line import parse_settings
from jobs.errors import SettingsError
from jobs.run.schema import TIMED
from jobs.settings import SaliencySettings

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
README = (CLUSTER / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = {
    document["kind"]: document for document in yaml.safe_load_all((CLUSTER / "kuberay-rayjob.yaml").read_text())
}
RAY_CLUSTER = DOCUMENTS["RayJob"]["spec"]["rayClusterSpec"]
WORKERS = {group["groupName"]: group for group in RAY_CLUSTER["workerGroupSpecs"]}
GROUPS = {"head": RAY_CLUSTER["headGroupSpec"]} | WORKERS
RAY_UP = yaml.safe_load((CLUSTER / "ray-up.yaml").read_text())
TOKEN_FILE = "~/.ray/auth_token"  # where Ray itself looks for it


def _only(required: str, optional: str = "", **kinds: dict[str, Any]) -> dict[str, Any]:
    """Schema of an object with these fields and no others."""
    fields = {name: kinds.get(name, {"type": "string"}) for name in f"{required} {optional}".split()}
    return {"type": "object", "properties": fields, "required": required.split(), "additionalProperties": False}


_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_START_PARAMETERS = {"type": "object", "additionalProperties": {"type": "string"}}
_POD = {"type": "object"}  # checked as a Pod of Kubernetes
_HEAD = _only("template", "rayStartParams serviceType", template=_POD, rayStartParams=_START_PARAMETERS)
_WORKER_GROUP = _only(
    "groupName minReplicas maxReplicas template",
    "replicas numOfHosts rayStartParams",
    template=_POD,
    rayStartParams=_START_PARAMETERS,
    replicas=_COUNT,
    minReplicas=_COUNT,
    maxReplicas=_COUNT,
    numOfHosts=_COUNT,
)
# The fields of ray.io/v1 that the manifest may use, from the API reference of KubeRay.
RAY_JOB_SCHEMA = _only(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=_only("name", "namespace"),
    spec=_only(
        "entrypoint rayClusterSpec",
        "runtimeEnvYAML submissionMode backoffLimit submitterConfig shutdownAfterJobFinishes ttlSecondsAfterFinished "
        "activeDeadlineSeconds",
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        backoffLimit=_COUNT,
        submitterConfig=_only("", "backoffLimit", backoffLimit=_COUNT),
        shutdownAfterJobFinishes=_FLAG,
        ttlSecondsAfterFinished=_COUNT,
        activeDeadlineSeconds=_COUNT,
        rayClusterSpec=_only(
            "headGroupSpec",
            "rayVersion authOptions enableInTreeAutoscaling autoscalerOptions workerGroupSpecs",
            autoscalerOptions=_only(
                "",
                "idleTimeoutSeconds upscalingMode version",
                idleTimeoutSeconds=_COUNT,
                upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
                version={"enum": ["v1", "v2"]},
            ),
            authOptions=_only("mode", mode={"enum": ["disabled", "token"]}),
            enableInTreeAutoscaling=_FLAG,
            headGroupSpec=_HEAD,
            workerGroupSpecs={"type": "array", "items": _WORKER_GROUP},
        ),
    ),
)


def _validate_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def _blocks(language: str) -> list[str]:
    """Return the fenced blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def _commands() -> Iterator[list[str]]:
    """Yield the shell commands of the README as words."""
    for block in _blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


COMMANDS = list(_commands())
RAY_COMMANDS = [words for words in COMMANDS if words[0] == "ray"]
JOB_COMMANDS = [words[words.index("jobs.saliency") - 2 :] for words in COMMANDS if "jobs.saliency" in words]


def _job_settings(words: list[str]) -> SaliencySettings:
    assert words[:3] == ["python", "-m", "jobs.saliency"]
    settings, dry_run = parse_settings(SaliencySettings, words[3:])
    assert not dry_run
    return settings


@pytest.fixture
def entrypoint(tmp_path: Path) -> SaliencySettings:
    """The settings of the RayJob's entrypoint, with the file of the ConfigMap in its place."""
    words = shlex.split(DOCUMENTS["RayJob"]["spec"]["entrypoint"])
    mounted = Path(words[words.index("--config") + 1])
    (tmp_path / mounted.name).write_text(DOCUMENTS["ConfigMap"]["data"][mounted.name])
    words[words.index("--config") + 1] = str(tmp_path / mounted.name)
    return _job_settings(words)


def test_ray_job_has_only_fields_of_kuberay() -> None:
    jsonschema.validate(DOCUMENTS["RayJob"], RAY_JOB_SCHEMA)


@pytest.mark.parametrize("where", ["", "spec", "spec rayClusterSpec", "spec rayClusterSpec headGroupSpec"])
def test_schema_of_ray_job_refuses_misspelt_fields(where: str) -> None:
    broken = json.loads(json.dumps(DOCUMENTS["RayJob"]))
    part = broken
    for name in where.split():
        part = part[name]
    part["numReplicas"] = 1
    with pytest.raises(jsonschema.ValidationError, match="numReplicas"):
        jsonschema.validate(broken, RAY_JOB_SCHEMA)


def test_config_map_is_valid() -> None:
    _validate_kubernetes(DOCUMENTS["ConfigMap"])


@pytest.mark.parametrize("name", GROUPS)
def test_pods_are_valid(name: str) -> None:
    _validate_kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **GROUPS[name]["template"]})


def test_pods_with_misspelt_fields_would_be_found() -> None:
    pod = json.loads(json.dumps(GROUPS["gpu"]["template"]))
    pod["spec"]["containers"][0]["envform"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="envform"):
        _validate_kubernetes({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gpu"}, **pod})


def test_entrypoint_is_a_command_line_of_the_job(entrypoint: SaliencySettings) -> None:
    assert entrypoint.source.startswith("s3://")
    assert entrypoint.output.startswith("s3://")
    assert entrypoint.model == "vgg16"  # from the ConfigMap


def test_a_second_run_of_the_entrypoint_deletes_nothing(entrypoint: SaliencySettings) -> None:
    assert not entrypoint.overwrite


def test_entrypoint_with_an_option_that_the_job_lacks_would_be_found() -> None:
    with pytest.raises(SettingsError):
        _job_settings([*JOB_COMMANDS[0], "--workers", "3"])


def test_config_map_is_mounted_where_the_entrypoint_reads_it() -> None:
    words = shlex.split(DOCUMENTS["RayJob"]["spec"]["entrypoint"])
    path = Path(words[words.index("--config") + 1])
    pod = GROUPS["head"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    (volume,) = pod["volumes"]
    assert mount["name"] == volume["name"]
    assert mount["mountPath"] == str(path.parent)
    assert volume["configMap"]["name"] == DOCUMENTS["ConfigMap"]["metadata"]["name"]
    assert path.name in DOCUMENTS["ConfigMap"]["data"]


@pytest.mark.parametrize("name", GROUPS)
def test_ray_is_told_what_kubernetes_gives(name: str) -> None:
    group = GROUPS[name]
    (container,) = group["template"]["spec"]["containers"]
    resources = container["resources"]
    assert resources["requests"] == resources["limits"]
    cpus, gpus = group["rayStartParams"]["num-cpus"], group["rayStartParams"].get("num-gpus", "0")
    assert cpus == ("0" if name == "head" else resources["limits"]["cpu"])
    assert gpus == resources["limits"].get("nvidia.com/gpu", "0")


def test_kuberay_cluster_as_ray_reads_it(entrypoint: SaliencySettings) -> None:
    cluster = {"metadata": {"name": "saliency", "namespace": "default"}, "spec": RAY_CLUSTER}
    read = _derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    assert read["headgroup"]["resources"]["CPU"] == 0
    for name, group in WORKERS.items():
        assert read[name]["min_workers"] == group["minReplicas"] == group["replicas"]
        assert read[name]["max_workers"] == group["maxReplicas"] > group["minReplicas"]
    assert RAY_CLUSTER["enableInTreeAutoscaling"] is True
    assert read["gpu"]["min_workers"] == 0
    assert read["cpu"]["min_workers"] > 0  # somebody has to prepare what GPUs are to come for
    most = sum(kind["max_workers"] * kind["resources"].get("GPU", 0) for kind in read.values())
    assert entrypoint.network_workers_range == (1, most)
    assert entrypoint.accelerator == "gpu"


def test_gpu_pods_may_run_on_spot_machines() -> None:
    tolerated = {toleration["key"] for toleration in WORKERS["gpu"]["template"]["spec"]["tolerations"]}
    assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} < tolerated
    assert "tolerations" not in GROUPS["head"]["template"]["spec"]  # the driver is there: it must stay


def test_all_pods_share_image_and_secret() -> None:
    containers = [group["template"]["spec"]["containers"][0] for group in GROUPS.values()]
    assert len({container["image"] for container in containers}) == 1
    build = next(words for words in COMMANDS if words[:2] == ["docker", "build"])
    assert containers[0]["image"] == build[build.index("--tag") + 1]
    create = next(words for words in COMMANDS if words[:4] == ["kubectl", "create", "secret", "generic"])
    for container in containers:
        assert container["envFrom"] == [{"secretRef": {"name": create[4]}}]


def test_secret_holds_variables_that_aws_tools_read() -> None:
    (block,) = _blocks("ini")
    named = {line.partition("=")[0] for line in block.splitlines()}
    defaults = botocore.session.Session().session_var_map
    known = {EnvProvider.ACCESS_KEY, EnvProvider.SECRET_KEY, "AWS_ENDPOINT_URL"}
    known |= {names for _, names, _, _ in defaults.values() if isinstance(names, str)}
    assert {EnvProvider.ACCESS_KEY, EnvProvider.SECRET_KEY} <= named <= known


def test_cluster_is_taken_down_and_the_job_tried_once_more() -> None:
    spec = DOCUMENTS["RayJob"]["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["submissionMode"] == "K8sJobMode"
    assert spec["backoffLimit"] == 1


@pytest.mark.parametrize("name", GROUPS)
def test_pods_run_without_root(name: str) -> None:
    pod = GROUPS[name]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"{pod['securityContext']['runAsUser']}" == _dockerfile("USER")[-1].split(":")[0]
    assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def _prepared_ray_up() -> dict[str, Any]:
    return prepare_config(json.loads(json.dumps(RAY_UP)))


def test_ray_up_is_valid_for_ray() -> None:
    validate_config(_prepared_ray_up())


def test_ray_up_grows_from_no_gpu_and_has_an_idle_head() -> None:
    kinds = _prepared_ray_up()["available_node_types"]
    assert kinds.pop(RAY_UP["head_node_type"])["resources"] == {"CPU": 0}
    assert all(kind["min_workers"] < kind["max_workers"] for kind in kinds.values())
    assert (kinds["gpu"]["min_workers"], kinds["cpu"]["min_workers"]) == (0, 1)
    assert sum(kind["max_workers"] for kind in kinds.values()) == RAY_UP["max_workers"]
    assert RAY_UP["idle_timeout_minutes"] > 0
    elastic = [words for words in JOB_COMMANDS if "--accelerator" in words]
    (words,) = (words for words in elastic if "s3://your-bucket/photographs" in words)
    assert _job_settings(words).network_workers_range == (1, kinds["gpu"]["max_workers"])


@pytest.mark.parametrize("name", RAY_UP["available_node_types"])
def test_ray_up_nodes_are_valid_for_ec2(name: str) -> None:
    shape = botocore.session.Session().get_service_model("ec2").operation_model("RunInstances").input_shape
    asked = RAY_UP["available_node_types"][name]["node_config"]
    report = botocore.validate.ParamValidator().validate(asked | {"MinCount": 1, "MaxCount": 1}, shape)
    assert not report.has_errors(), report.generate_report()
    assert asked["InstanceType"] in shape.members["InstanceType"].enum
    # without a role a node cannot reach S3: Ray gives its own to the head alone
    assert asked["IamInstanceProfile"]["Name"] in README


def test_ray_up_commands_are_whole() -> None:
    commands = [
        command for name, value in _prepared_ray_up().items() if name.endswith("_commands") for command in value
    ]
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    assert any(command.endswith("sudo tee /etc/profile.d/saliency.sh") for command in commands)


@pytest.mark.parametrize("name", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_ray_up_starts_ray_with_options_that_ray_has(name: str) -> None:
    (start,) = (command for command in RAY_UP[name] if "ray start" in command)
    _check_ray_command(shlex.split(start[start.index("ray start") :]))


def test_ray_up_copies_and_installs_what_the_image_does() -> None:
    target = "/home/ubuntu/saliency"
    copied = {local: remote for remote, local in RAY_UP["file_mounts"].items() if local != TOKEN_FILE}
    assert copied == {local: f"{target}/{local}" for local in _copied()}
    assert any(command.endswith(target) for command in RAY_UP["setup_commands"] if "pip install" in command)


def test_clusters_ask_for_a_token() -> None:
    assert RAY_CLUSTER["authOptions"] == {"mode": "token"}
    home = f"/home/{RAY_UP['auth']['ssh_user']}"
    assert RAY_UP["file_mounts"][TOKEN_FILE.replace("~", home)] == TOKEN_FILE
    assert any("export RAY_AUTH_MODE=token" in command for command in RAY_UP["setup_commands"])
    for block in _blocks("sh"):
        assert ("ray job submit" in block) == ("export RAY_AUTH_MODE=token" in block)


def test_boto3_is_asked_for_together_with_s3fs() -> None:
    installs = [command for command in RAY_UP["head_setup_commands"] if "boto3" in command]
    installs += [" ".join(words) for words in COMMANDS if "boto3" in words]
    assert len(installs) == 2
    assert all("s3fs" in command for command in installs)


def _dockerfile(instruction: str) -> list[str]:
    parser = DockerfileParser(path=str(CLUSTER / "Dockerfile"))
    return [step["value"] for step in parser.structure if step["instruction"] == instruction]


def _copied() -> list[str]:
    sources = [word for value in _dockerfile("COPY") for word in shlex.split(value)[:-1]]
    assert len(sources) == len(set(sources)) > 0
    return sources


def test_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", CLUSTER / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_of_the_image_suits_the_project() -> None:
    (base,) = _dockerfile("FROM")
    found = re.fullmatch(r"python:(3\.\d+)-slim-\w+", base)
    assert found is not None
    assert found[1] in SpecifierSet(PROJECT["requires-python"])


def test_one_ray_everywhere_and_not_too_old() -> None:
    (argument,) = _dockerfile("ARG")
    name, _, pinned = argument.partition("=")
    assert name == "RAY_VERSION"
    (wanted,) = (Requirement(text) for text in PROJECT["dependencies"] if text.startswith("ray["))
    assert pinned in wanted.specifier
    extras = ",".join(sorted(wanted.extras))
    assert RAY_CLUSTER["rayVersion"] == pinned
    install = next(command for command in RAY_UP["setup_commands"] if "ray[" in command)
    (exact,) = (Requirement(word) for word in shlex.split(install) if word.startswith("ray["))
    assert (",".join(sorted(exact.extras)), str(exact.specifier)) == (extras, f"=={pinned}")


def test_dockerfile_asks_for_the_projects_dependencies() -> None:
    run = next(value for value in _dockerfile("RUN") if "tomllib" in value)
    program = next(word for word in shlex.split(run) if word.startswith("import tomllib"))
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines() == PROJECT["dependencies"]


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == set(_copied())
    missing = [name for name in _copied() if not (ROOT / name).exists()]
    assert not missing


def test_the_project_installs_from_what_the_image_copies(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in _copied():
        subprocess.run(["cp", "-r", ROOT / name, source], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    modules = [path for folder in ("jobs", "saliency_core") for path in (source / folder).rglob("*.py")]
    wanted = {str(path.relative_to(source)) for path in modules}
    assert wanted <= packed


def test_image_runs_as_a_number_that_is_not_root_and_holds_no_weights() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", _dockerfile("USER")[-1])
    assert not re.search(r"\.(safetensors|pth?|ckpt)\b|download\.pytorch", (CLUSTER / "Dockerfile").read_text())


def test_code_comes_after_dependencies() -> None:
    steps = DockerfileParser(path=str(CLUSTER / "Dockerfile")).structure
    dependencies = next(index for index, step in enumerate(steps) if "--requirement" in step["value"])
    code = next(index for index, step in enumerate(steps) if step["instruction"] == "COPY" and "jobs" in step["value"])
    assert dependencies < code


def _check_ray_command(words: list[str]) -> None:
    command: click.Command = ray_cli
    name, *rest = words
    while isinstance(command, click.Group):
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, rest)  # parses, and runs nothing


@pytest.mark.parametrize("words", RAY_COMMANDS, ids=" ".join)
def test_ray_commands_of_the_readme_parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _check_ray_command(words)


def test_a_wrong_ray_command_would_be_found() -> None:
    with pytest.raises(click.NoSuchOption):
        _check_ray_command(["ray", "job", "submit", "--workdir", ".", "--", "python"])


@pytest.mark.parametrize("words", JOB_COMMANDS, ids=" ".join)
def test_job_commands_of_the_readme_parse(words: list[str]) -> None:
    assert _job_settings(words).output.startswith("s3://")


def test_readme_names_files_that_exist() -> None:
    named = {word for words in COMMANDS for word in words if word.startswith("cluster/")}
    assert {"cluster/Dockerfile", "cluster/kuberay-rayjob.yaml", "cluster/ray-up.yaml"} <= named
    assert all((ROOT / name).is_file() for name in named)


def test_sizing_example_of_the_readme(tmp_path: Path) -> None:
    (record,) = _blocks("json")
    (program,) = _blocks("python")
    (printed,) = _blocks("text")
    assert set(json.loads(record)["seconds_per_stage"]) == set(TIMED)
    (tmp_path / "_run.json").write_text(record)
    (tmp_path / "sizing.py").write_text(program)
    done = subprocess.run(
        [sys.executable, tmp_path / "sizing.py", tmp_path / "_run.json"], capture_output=True, text=True, check=True
    )
    assert done.stdout == printed


def test_files_have_the_slots_that_the_sizing_example_asks_for() -> None:
    (printed,) = _blocks("text")
    found = re.search(r"(\d+) CPU slots per GPU", printed)
    assert found is not None
    wanted = int(found[1])
    slots = sum(group["maxReplicas"] * int(group["rayStartParams"]["num-cpus"]) for group in WORKERS.values())
    gpus = sum(group["maxReplicas"] * int(group["rayStartParams"].get("num-gpus", "0")) for group in WORKERS.values())
    assert slots >= wanted * gpus
    assert f"= {slots} in `kuberay-rayjob.yaml`" in README
