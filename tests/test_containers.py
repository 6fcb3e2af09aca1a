"""The JobSet and the images that it runs: valid, and as an ordinary user.

golden/jobset_v1alpha2.json.gz is the schema of JobSet 0.12.0, without
descriptions and status, from config/components/crd/bases of
github.com/kubernetes-sigs/jobset, (c) The Kubernetes Authors, Apache License
2.0.
"""

import gzip
import json
import re
import subprocess

import jsonschema
import pytest
import yaml

from tests.command_line import REPOSITORY
from tests.test_launchers import LAUNCH, TOOLS


def strict(schema):
  """Objects have no other properties, as the API server drops those."""
  if isinstance(schema, list):
    return [strict(part) for part in schema]
  if not isinstance(schema, dict):
    return schema
  found = {name: strict(part) for name, part in schema.items()}
  if isinstance(found.get("properties"), dict) and found["properties"]:
    found.setdefault("additionalProperties", False)
  if found.get("x-kubernetes-int-or-string"):
    found["type"] = ["integer", "string"]
  return found


@pytest.fixture(scope="module")
def jobset():
  return yaml.safe_load((LAUNCH / "gke.yaml").read_text())


@pytest.fixture(scope="module")
def check_jobset():
  path = REPOSITORY / "tests" / "golden" / "jobset_v1alpha2.json.gz"
  schema = strict(json.loads(gzip.decompress(path.read_bytes())))
  schema["properties"]["metadata"] = {"type": "object"}
  return jsonschema.Draft202012Validator(schema).validate


def test_the_jobset_is_valid(jobset, check_jobset):
  check_jobset(jobset)
  jobset = json.loads(json.dumps(jobset))
  pod = pod_of(jobset)
  pod["terminationGracePeriod"] = pod.pop("terminationGracePeriodSeconds")
  with pytest.raises(jsonschema.ValidationError, match="terminationGrace"):
    check_jobset(jobset)


def pod_of(jobset):
  (job,) = jobset["spec"]["replicatedJobs"]
  return job["template"]["spec"]["template"]["spec"]


def test_the_jobset_is_one_slice_that_goes_on_by_itself(jobset):
  spec = jobset["spec"]
  (job,) = spec["replicatedJobs"]
  hosts, pod = job["template"]["spec"], pod_of(jobset)
  (container,) = pod["containers"]
  topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
  chips = container["resources"]["limits"]["google.com/tpu"]
  rows, columns = map(int, topology.split("x"))
  assert hosts["parallelism"] == hosts["completions"] == rows * columns // chips
  # The same type as the slices of tpu_pod.sh.
  assert rows * columns == 8
  assert spec["network"]["subdomain"] == jobset["metadata"]["name"]
  assert spec["failurePolicy"]["maxRestarts"] > 0
  # As Kubernetes says it of a pod that matches a rule of podFailurePolicy.
  said = "Container lowdiff for pod a/b failed with exit code {} matching ..."
  mistake, preempted = spec["failurePolicy"]["rules"]
  (pattern,) = mistake["onJobFailureMessagePatterns"]
  assert mistake["action"] == "FailJobSet"
  assert re.search(pattern, said.format(2))
  assert not re.search(pattern, said.format(143))
  assert preempted["action"] == "RestartJobSetAndIgnoreMaxRestarts"
  ended, disrupted = hosts["podFailurePolicy"]["rules"]
  assert ended["action"] == disrupted["action"] == "FailJob"
  assert ended["onExitCodes"]["values"] == [2, 143]
  assert disrupted["onPodConditions"][0]["type"] == "DisruptionTarget"
  assert hosts["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
  assert pod["terminationGracePeriodSeconds"] >= 60


def test_containers_run_as_an_ordinary_user(jobset):
  pod = pod_of(jobset)
  (container,) = pod["containers"]
  assert pod["securityContext"]["runAsNonRoot"]
  assert pod["automountServiceAccountToken"] is False
  assert container["securityContext"] == {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
  }
  lines = (LAUNCH / "Dockerfile").read_text().splitlines()
  users = [line.split()[1] for line in lines if line.startswith("USER ")]
  assert users == [str(pod["securityContext"]["runAsUser"])]
  last = [line.split()[0] for line in lines if line[:1].isupper()]
  assert last.index("USER") > max(
    i for i, name in enumerate(last) if name in ("RUN", "COPY")
  )


def test_the_image_has_no_warnings_and_copies_what_is_there():
  dockerfile = LAUNCH / "Dockerfile"
  done = subprocess.run(
    [TOOLS / "hadolint", dockerfile], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout
  sent = (REPOSITORY / ".dockerignore").read_text().splitlines()
  assert sent[0] == "*"
  for line in dockerfile.read_text().splitlines():
    if line.startswith("COPY "):
      source = line.split()[1]
      assert f"!{source}" in sent and (REPOSITORY / source).exists()
