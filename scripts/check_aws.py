"""`./check-aws`: a smoke test of a whole deployment, and a report on what AWS's documents leave open."""

import argparse
import gzip
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone

import boto3

from stack import Stop, as_json, ask, environment, main, outputs, region, say, status, weir

CLICK = {"session_id": "s1", "button_id": "abc"}


def options():
    parser = argparse.ArgumentParser(
        prog="./check-aws",
        description="Deploys Weir under a random name, tries it, prints a report, and deletes everything.",
    )
    parser.add_argument("--keep", action="store_true", help="do not delete the stack and its data afterwards")
    parser.add_argument("--architecture", default="arm64", choices=["arm64", "x86_64"])
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the template")
    parser.add_argument("--weir", required=True, metavar="PROGRAM", help="a weir command with the engine for AWS")
    parser.add_argument("--url", help="where the API is reached, if not at its own address; {ApiId} stands for its id")
    parser.add_argument("--wait", type=int, default=900, metavar="SECONDS", help="for events to be filed (900)")
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is made")
    return parser.parse_args()


class Check:
    """One run: the deployed stack, its user, and what was seen."""

    def __init__(self, arguments, stack):
        self.arguments, self.stack, self.user = arguments, stack, f"check-{stack.rsplit('-', 1)[1]}"
        self.failures, self.seen = [], {}
        self.client = boto3.Session(region_name=region()).client
        self.out = outputs(self.client("cloudformation"), stack)
        url = arguments.url or self.out["Url"]
        self.url = url.replace("{ApiId}", self.out["ApiId"]).rstrip("/")
        self.sent = 0
        began = time.monotonic()
        self.credentials = weir(arguments.weir, self.out, "user", "add", self.user).strip()
        self.cold = self.post("typed route", "/button/click", json.dumps(CLICK).encode(), 1)
        self.first_answer = time.monotonic() - began

    def post(self, way, path, body, events, headers=None):
        """Sends events, and notes whether they were stored. Returns the seconds that the answer took."""
        began = time.monotonic()
        code, _, answer = ask(self.url, path, self.credentials, body, headers)
        took = time.monotonic() - began
        if code == 200:
            self.sent += events
            say(f"  ok {way}")
        else:
            self.failures.append(f"{way}: answered {code}: {answer[:200].decode(errors='replace')}")
        return took

    def send_by_every_way(self):
        click = {"event_type": "button_click", **CLICK}
        lines = b"".join(json.dumps(click).encode() + b"\n" for _ in range(3))
        self.warm = self.post("typed route, warm", "/button/click", json.dumps(CLICK).encode(), 1)
        self.post("array", "/events", json.dumps([click, click]).encode(), 2)
        self.post("NDJSON", "/events", lines, 3, {"Content-Type": "application/x-ndjson"})
        octets = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
        self.post("gzip as octet-stream", "/events", gzip.compress(lines), 3, octets)
        given = json.dumps({**CLICK, "event_id": "given-1"}).encode()
        self.post("own event_id", "/button/click", given, 1)
        self.post("the same again", "/button/click", given, 0)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "clicks.ndjson")
            with open(path, "wb") as file:
                file.write(lines)
            variables = {**os.environ, "WEIR_CREDENTIALS": self.credentials}
            done = subprocess.run(
                [self.arguments.weir, "send", path, "--to", self.url],
                env=variables, capture_output=True, text=True, check=False,
            )
            if done.returncode == 0:
                self.sent += 3
                say("  ok weir send")
            else:
                self.failures.append(f"weir send: {done.stderr.strip()}")

    def counts(self):
        _, _, body = ask(self.url, "/counts/button_click", self.credentials)
        return as_json(body) or {}

    def wait_until_filed(self):
        end = time.monotonic() + self.arguments.wait
        while time.monotonic() < end:
            counts = self.counts()
            if counts.get("total") == counts.get("settled") == self.sent:
                say(f"  ok {self.sent} events are counted, stored, filed and settled")
                return
            time.sleep(2)
        self.failures.append(f"{self.sent} events were sent, and after {self.arguments.wait} s the counts are {self.counts()}")

    def query(self, sql):
        """Rows of Athena, as objects."""
        return self.query_and_cost(sql)[0]

    def query_and_cost(self, sql):
        """Rows of Athena, and what `weir query` says that it scanned."""
        command = [self.arguments.weir, "query", sql, "--format", "json", "--engine", "aws"]
        done = subprocess.run(command, env=environment(self.out), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Stop(f"weir query: {done.stderr.strip()}")
        return json.loads(done.stdout or "[]"), done.stderr.strip().removeprefix("weir: Athena ")

    def today(self):
        now = datetime.now(timezone.utc)
        return f"username = '{self.user}' AND year = {now.year} AND month = {now.month} AND day = {now.day}"

    # ---- What no document settles. Each returns what was seen.

    def a_hours(self):
        """Athena counts each hour once, as the settled counts do"""
        rows = self.query(f"SELECT hour, count(*) AS n FROM button_click WHERE {self.today()} GROUP BY hour")
        _, _, body = ask(self.url, "/counts/button_click/hours", self.credentials)
        settled = {}
        for hour in (as_json(body) or {}).get("hours", []):
            if hour.get("count"):
                settled[int(str(hour["hour"])[11:13])] = hour["count"]
        found = {int(row["hour"]): int(row["n"]) for row in rows}
        if found != settled:
            self.failures.append(f"Athena counts {found}, and the settled counts are {settled}")
        return f"Athena {found}, settled {settled}"

    def b_bucket(self):
        """a placeholder in a bucket's name is replaced"""
        s3, glue, bucket = self.client("s3"), self.client("glue"), f"{self.user}-raw-events"
        name, place = "button_click_own", {"CreateBucketConfiguration": {"LocationConstraint": region()}}
        where = {} if region() == "us-east-1" else place
        s3.create_bucket(Bucket=bucket, **where)
        try:
            for item in s3.list_objects_v2(Bucket=self.out["LakeBucket"], Prefix=f"username={self.user}/")["Contents"]:
                s3.copy_object(Bucket=bucket, Key=item["Key"], CopySource={"Bucket": self.out["LakeBucket"], "Key": item["Key"]})
            database = self.out["GlueDatabase"]
            table = glue.get_table(DatabaseName=database, Name="button_click")["Table"]
            kept = ("Description", "TableType", "Parameters", "PartitionKeys", "StorageDescriptor")
            table = {"Name": name, **{key: table[key] for key in kept if key in table}}
            template = table["Parameters"]["storage.location.template"]
            table["Parameters"]["storage.location.template"] = template.replace(self.out["LakeBucket"], "${username}-raw-events")
            glue.create_table(DatabaseName=database, TableInput=table)
            rows = self.query(f"SELECT count(*) AS n FROM {name} WHERE {self.today()}")
            return f"{rows[0]['n']} of {self.sent} events are found"
        finally:
            for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=item["Key"])
            s3.delete_bucket(Bucket=bucket)

    def c_compressed(self):
        """a gzip body under application/json"""
        body = gzip.compress(json.dumps({**CLICK, "event_id": "gzip-json"}).encode())
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        code, _, answer = ask(self.url, "/button/click", self.credentials, body, headers)
        self.sent += code == 200
        kind = (as_json(answer) or {}).get("type", "")
        return f"answered {code} {kind}"

    def d_escaped(self):
        """a body of 4 MiB of quotes and backslashes, which is larger than Lambda takes once it is escaped again"""
        # Four bytes in the body for each pair, and eight in the function's event: 8 MiB of the 6 MiB that Lambda takes.
        note = '"\\' * ((1 << 20) - 64)
        code, _, answer = ask(self.url, "/button/click", self.credentials, json.dumps({**CLICK, "note": note}).encode())
        return f"answered {code} {(as_json(answer) or {}).get('type', answer[:80].decode(errors='replace'))}"

    def e_cors(self):
        """headers for browsers on what the authorizer refuses"""
        seen = []
        for name, who in (("401", None), ("403", f"{self.user}:wrong")):
            code, headers, _ = ask(self.url, "/counts", who, headers={"Origin": "https://page.example"})
            allowed = {key.lower() for key in headers}
            seen.append(f"{code}: {'with' if 'access-control-allow-origin' in allowed else 'without'}")
        return ", ".join(seen)

    def f_pruning(self):
        """year(current_date) prunes partitions"""
        now = datetime.now(timezone.utc)
        costs = []
        for year in (str(now.year), "year(current_date)"):
            began = time.monotonic()
            where = f"username = '{self.user}' AND year = {year} AND month = {now.month} AND day = {now.day}"
            _, scanned = self.query_and_cost(f"SELECT count(*) AS n FROM button_click WHERE {where}")
            costs.append(f"{year}: {scanned}, {time.monotonic() - began:.1f} s")
        return "; ".join(costs)

    def g_serde(self):
        """a text in a number's column is null, 1.0 is read as bigint, an object is the text of its JSON"""
        now = datetime.now(timezone.utc)
        lines = [
            {"event_id": "fits", "received_at": 1, "model": "m", "score": 0.5, "features": {"a": [1]}},
            {"event_id": "text", "received_at": 1.0, "model": "m", "score": "high", "features": {"a": [1]}},
        ]
        key = f"username={self.user}/prediction/year={now.year}/month={now.month}/day={now.day}/hour={now.hour}/odd.json.gz"
        body = gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self.client("s3").put_object(Bucket=self.out["LakeBucket"], Key=key, Body=body)
        columns = "event_id, received_at, score, features"
        # The local AWS reads all types in one table.
        rows = self.query(f"SELECT {columns} FROM prediction WHERE {self.today()} AND model = 'm' ORDER BY event_id")
        return f"{len(rows)} of {len(lines)} rows: {json.dumps(rows)}"

    def h_metrics(self):
        """metrics in log lines arrive"""
        found = self.client("cloudwatch").list_metrics(Namespace="Weir")["Metrics"]
        names = sorted({metric["MetricName"] for metric in found if self.stack in json.dumps(metric)})
        return ", ".join(names) or "none yet"

    def i_firehose(self):
        """the stream writes without s3:GetObject"""
        found = self.client("s3").list_objects_v2(Bucket=self.out["RawBucket"], Prefix="raw/").get("KeyCount", 0)
        return f"{found} batches"

    def j_starts(self):
        """the programs start"""
        code, _, _ = ask(self.url, "/openapi.json")
        return f"/openapi.json answered {code}, {self.arguments.architecture}"

    def k_cold(self):
        """the first request, and one after it"""
        return f"{self.cold:.2f} s, {self.warm:.2f} s"

    def l_timeouts(self):
        """a function that runs out of time is in the log"""
        function, client = f"{self.stack}-collector", self.client("lambda")
        before = client.get_function_configuration(FunctionName=function)["Timeout"]
        client.update_function_configuration(FunctionName=function, Timeout=1)
        try:
            time.sleep(5)
            click = {"event_type": "button_click", **CLICK}
            many = [{**click, "event_id": f"late-{number}"} for number in range(10_000)]
            ask(self.url, "/events", self.credentials, json.dumps(many).encode())
        finally:
            client.update_function_configuration(FunctionName=function, Timeout=before)
        time.sleep(10)
        lines = self.client("logs").filter_log_events(logGroupName=f"/weir/{self.stack}/collector").get("events", [])
        late = [line["message"] for line in lines if "timed out" in line["message"].lower() or "timeout" in line["message"].lower()]
        return f"{len(late)} lines"

    def look_at_the_open_points(self):
        # l) comes last: what it sends is killed in the middle.
        for name in sorted(name for name in dir(self) if len(name) > 2 and name[1] == "_" and name[0] in "abcdefghijkl"):
            look = getattr(self, name)
            try:
                seen = look()
            except Exception as error:  # Each point is looked at, whatever becomes of the others.
                seen = f"not seen: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                if name == "a_hours":
                    self.failures.append(f"Athena could not be compared with the counts: {seen}")
            self.seen[name[0]] = (look.__doc__, seen)

    def report(self):
        say("\nReport")
        for letter, (what, seen) in sorted(self.seen.items()):
            say(f"  {letter}) {what}: {seen}")
        for failure in self.failures:
            say(f"  FAILED {failure}")
        say("  everything that was to be stored, counted and filed, was" if not self.failures else "")


def delete(stack):
    """Deletes the stack and what it keeps: everything in it is this run's own."""
    names = ("cloudformation", "s3", "dynamodb")
    cloudformation, s3, dynamodb = (boto3.client(name, region_name=region()) for name in names)
    if status(cloudformation, stack) is None:
        return
    out = outputs(cloudformation, stack)
    say(f"\nDeleting {stack}")
    cloudformation.delete_stack(StackName=stack)
    end = time.monotonic() + 1200
    while status(cloudformation, stack) not in (None, "DELETE_COMPLETE"):
        if status(cloudformation, stack) == "DELETE_FAILED" or time.monotonic() > end:
            raise Stop(f"the stack {stack} could not be deleted; delete it by hand, and then its buckets and tables")
        time.sleep(2)
    for bucket in (out.get("RawBucket"), out.get("LakeBucket")):
        if bucket:
            try:
                boto3.resource("s3", region_name=region()).Bucket(bucket).object_versions.delete()
                s3.delete_bucket(Bucket=bucket)
            except s3.exceptions.NoSuchBucket:
                pass
    for table in (out.get("UsersTable"), out.get("CountsTable"), out.get("LatestTable")):
        if table:
            try:
                dynamodb.delete_table(TableName=table)
            except dynamodb.exceptions.ResourceNotFoundException:
                pass
    say("  ok the stack, its buckets and its tables are gone")


def act():
    arguments = options()
    stack = f"weir-check-{secrets.token_hex(4)}"
    deploying = ["./deploy", "--stack-name", stack, "--architecture", arguments.architecture, "--weir", arguments.weir]
    deploying += ["--user", "first"]
    for parameter in ["BufferSeconds=60", *arguments.parameter]:
        deploying += ["--parameter", parameter]
    if arguments.url:
        deploying += ["--url", arguments.url]
    if arguments.yes:
        deploying.append("--yes")
    region()
    failures = ["it was not deployed"]
    try:
        if subprocess.run(deploying, check=False).returncode != 0:
            raise Stop("it could not be deployed; the lines above say why")
        say("\nSending by each way")
        check = Check(arguments, stack)
        check.send_by_every_way()
        say("\nWaiting until the events are filed")
        check.wait_until_filed()
        check.look_at_the_open_points()
        check.report()
        failures = check.failures
    finally:
        if arguments.keep:
            say(f"\n{stack} is kept. It costs nothing by the hour; delete it when you are done.")
        else:
            delete(stack)
    if failures:
        sys.exit(1)


main(act)
