"""What `./deploy` and `./check-aws` share: running tools, the stack's outputs, and requests to the API."""

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import boto3


class Stop(Exception):
    """A reason to stop that is printed as it is, without a traceback."""


def say(text):
    print(text, flush=True)


def run(*command, **options):
    """Runs a tool whose output the user sees; stops where it fails."""
    say("$ " + " ".join(command))
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False, **options).returncode != 0:
        raise Stop(f"{command[0]} {command[1]} failed; its last lines say why")


def printed(*command, **options):
    """What a tool prints, or None where it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def outputs(cloudformation, stack):
    """The outputs of a deployed stack by name."""
    found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in found}


def region():
    """The configured region, under both names that tools read it by: the SAM CLI and boto3 know one, the SDK of weir the other."""
    found = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or boto3.Session().region_name
    if not found:
        raise Stop("no region is configured: export AWS_DEFAULT_REGION=us-east-1, or aws configure")
    os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = found
    return found


def status(cloudformation, stack):
    """The status of a stack, or None where it does not exist."""
    try:
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
    except cloudformation.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return None
        raise


def environment(out):
    """The environment that `weir --engine aws` needs, from the output `Environment`."""
    variables = dict(os.environ)
    for assignment in out["Environment"].removeprefix("export ").split():
        name, _, value = assignment.partition("=")
        variables[name] = value
    return variables


def weir(program, out, *arguments):
    """Runs `weir ARGUMENTS --engine aws` for the stack; returns what it prints."""
    command = [program, *arguments, "--engine", "aws"]
    done = subprocess.run(command, env=environment(out), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stop(f"weir {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def ask(url, path, credentials=None, body=None, headers=None, method=None):
    """Sends a request to the API; returns status, headers and body."""
    request = urllib.request.Request(url + path, data=body, headers=dict(headers or {}), method=method)
    if credentials:
        request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
    if body is not None and not request.has_header("Content-type"):
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers.items()), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers.items()), error.read()
    except urllib.error.URLError as error:
        raise Stop(f"{url} cannot be reached: {error.reason}") from error


def as_json(body):
    """The body as JSON, or None."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def main(act):
    """Runs a script: prints a reason to stop, and ends with 1 then."""
    try:
        act()
    except Stop as stop:
        print(f"\n{os.path.basename(sys.argv[0]).removesuffix('.py').replace('_', '-')}: {stop}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
