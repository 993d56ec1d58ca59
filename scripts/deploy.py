"""`./deploy`: checks, builds, deploys, adds the first user and sends the first event."""

import argparse
import json
import os
import platform
import re
import shutil
import sys

import boto3
import botocore.exceptions

from stack import Stop, ask, main, outputs, printed, region, run, say, status, weir

TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}

# Since Rust 1.98 the linker is handed an option that zig refuses; from this version on cargo-lambda takes it out.
CARGO_LAMBDA = (1, 9, 2)

# Below this, a few hundred requests a second already find no function that is free.
FEW_AT_ONCE = 100


def options():
    parser = argparse.ArgumentParser(
        prog="./deploy",
        description="Deploys Weir to AWS, or updates it: builds, deploys, adds the first user, sends the first event.",
        epilog="Parameters are those of template.yaml; docs/DEPLOY.md explains each.",
    )
    parser.add_argument("--stack-name", default="weir", help="name of the stack, at most 30 characters (weir)")
    parser.add_argument("--architecture", default="arm64", choices=sorted(TARGETS), help="of the functions (arm64)")
    parser.add_argument("--user", default="demo", help="name of the first user (demo)")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the template")
    parser.add_argument("--weir", metavar="PROGRAM", help="a weir command with the engine for AWS; built where none is named")
    parser.add_argument("--url", help="where the API is reached, if not at its own address; {ApiId} stands for its id")
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is made")
    parser.add_argument("--check", action="store_true", help="check what is needed, and stop")
    return parser.parse_args()


def check_rust(architecture):
    target = TARGETS[architecture]
    if not shutil.which("cargo") or not shutil.which("rustup"):
        raise Stop(
            "Rust from rustup is needed: https://rustup.rs. The rustc of a distribution has no target for the functions."
        )
    if target not in (printed("rustup", "target", "list", "--installed") or "").split():
        raise Stop(f"Rust has no target for {architecture} functions: rustup target add {target}")


def check_tools():
    if not shutil.which("sam"):
        raise Stop("the SAM CLI is not installed in the tools' environment; remove target/deploy to have it made again")
    version = printed("cargo-lambda", "lambda", "--version") or ""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", version)
    wanted = ".".join(map(str, CARGO_LAMBDA))
    if not found:
        raise Stop(f"cargo-lambda is not installed; version {wanted} or later is needed")
    if tuple(map(int, found.groups())) < CARGO_LAMBDA:
        raise Stop(f"cargo-lambda is {found.group()}, and {wanted} or later is needed: older ones cannot link with zig")
    if not (shutil.which("zig") or printed("python3", "-m", "ziglang", "version")):
        raise Stop("zig is not installed: pip install ziglang, in the tools' environment")


def check_build_machine(architecture):
    machine = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    if architecture == "x86_64" and machine != "x86_64":
        raise Stop("x86_64 functions have to be built on an x86_64 machine: SAM takes the machine's own target there")


def check_account():
    """Returns a session, the account and the region."""
    session = boto3.Session(region_name=region())
    try:
        account = session.client("sts").get_caller_identity()["Account"]
    except botocore.exceptions.NoCredentialsError as error:
        raise Stop("no AWS credentials are configured: aws configure, or aws sso login") from error
    except botocore.exceptions.BotoCoreError as error:
        raise Stop(f"AWS cannot be asked: {error}") from error
    except botocore.exceptions.ClientError as error:
        raise Stop(f"AWS refuses the credentials: {error}") from error
    return session, account, session.region_name


def check_quota(session):
    try:
        limit = session.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, KeyError):
        say("  ? how many functions may run at once could not be read; new accounts have few")
        return
    if limit < FEW_AT_ONCE:
        say(
            f"  ! only {limit} functions may run at once in this account, some {limit * 16} requests a second for all; beyond\n"
            "    them clients get 503. Ask for 1,000 under Service Quotas, AWS Lambda, Concurrent executions: it costs nothing."
        )
    else:
        say(f"  ok {limit} functions may run at once")


def check_stack(session, stack):
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,29}", stack):
        raise Stop("the stack's name has to be small letters, digits and hyphens, at most 30, as buckets are named after it")
    now = status(session.client("cloudformation"), stack)
    if now in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        raise Stop(
            f"an earlier deployment of {stack} failed ({now}), and AWS takes no other before it is removed:\n"
            f"  sam delete --stack-name {stack}\nNothing is lost by that: such a stack never took an event."
        )
    if now and now.endswith("_IN_PROGRESS") and now != "REVIEW_IN_PROGRESS":
        raise Stop(f"{stack} is being changed right now ({now}); wait until that is done")
    return now


def agree(arguments, account, where, exists):
    verb = "updates" if exists else "makes"
    say(
        f"\nThis {verb} the stack {arguments.stack_name} in account {account}, region {where}, for {arguments.architecture}.\n"
        "Nothing of it is paid by the hour; docs/DEPLOY.md#what-it-costs has the prices. The build takes some minutes."
    )
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise Stop("there is no terminal to ask on: --yes goes on without asking")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise Stop("nothing was made")


def build_and_deploy(arguments):
    architecture = f"Architecture={arguments.architecture}"
    run("sam", "build", "--parameter-overrides", architecture)
    run(
        "sam", "deploy", "--stack-name", arguments.stack_name, "--no-confirm-changeset", "--no-progressbar",
        "--parameter-overrides", architecture, *arguments.parameter,
    )


def command(arguments):
    """The weir command: the one that was named, or a new one."""
    if arguments.weir:
        return os.path.abspath(arguments.weir)
    run("cargo", "build", "--locked", "--profile", "serve", "--features", "aws", "--bin", "weir")
    return os.path.abspath("target/serve/weir")


def first_user_and_event(arguments, program, out, url):
    heading_and_users = weir(program, out, "user", "list").strip().splitlines()
    if len(heading_and_users) > 1:
        say("\nThere are users already; none was added, and no event was sent.")
        return
    credentials = weir(program, out, "user", "add", arguments.user).strip()
    event = json.dumps({"session_id": "s1", "button_id": "abc"}).encode()
    code, _, body = ask(url, "/button/click", credentials, event)
    if code != 200:
        raise Stop(f"the first event was answered {code}: {body.decode(errors='replace')}")
    _, _, count = ask(url, "/button/click/count?button_id=abc", credentials)
    say(
        f"\nThe first event is stored; its count: {count.decode(errors='replace')}\n\n"
        f"The credentials of {arguments.user}, shown this once:\n\n  CREDENTIALS='{credentials}'\n\n"
        "Paste next:\n\n"
        f"  curl -u \"$CREDENTIALS\" -d '{{\"session_id\":\"s1\",\"button_id\":\"abc\"}}' '{url}/button/click'\n"
        f"  curl -u \"$CREDENTIALS\" '{url}/button/click/count?button_id=abc'\n"
    )


def act():
    arguments = options()
    say("Checking what is needed")
    check_rust(arguments.architecture)
    check_build_machine(arguments.architecture)
    check_tools()
    say("  ok Rust, the SAM CLI, cargo-lambda and zig")
    session, account, where = check_account()
    say(f"  ok account {account}, region {where}")
    check_quota(session)
    exists = check_stack(session, arguments.stack_name)
    if arguments.check:
        return
    agree(arguments, account, where, exists)
    build_and_deploy(arguments)
    out = outputs(session.client("cloudformation"), arguments.stack_name)
    url = (arguments.url or out["Url"]).replace("{ApiId}", out["ApiId"]).rstrip("/")
    first_user_and_event(arguments, command(arguments), out, url)
    say(f"The dashboard: {url}/\n\nFor weir --engine aws, in your shell:\n\n  {out['Environment']}")


main(act)
