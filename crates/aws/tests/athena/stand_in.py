"""Stands in for Athena, over a local S3. Prints its port, and serves until its standard input ends. Passes calls of other services
on to the local AWS.

A parser of Athena's grammar (sqlglot) reads the statements and translates them for DuckDB, which runs them. As AWS documents it:

- UNLOAD refuses a folder that is not empty, writes several files under names of its own, each sorted, and none for no rows;
- a query of a table with an injected column must name the column's values in WHERE;
- a table without a database is one of the question's own, or of the database that the question came with;
- a query can be looked at with its text, and stopped;
- an answer is a file of CSV with each value in quotes, too (here, only in a workgroup for queries of clients);
- a Parquet file whose types are not those of its table cannot be read;
- CREATE TABLE IF NOT EXISTS leaves a table as it is, and CREATE OR REPLACE VIEW changes a view in one step.

Usage: stand_in.py ENDPOINT BUCKET ANSWERS TEMPLATE DUCKDB
"""

import ctypes, gzip, http.client, json, os, pathlib, re, signal, subprocess, sys, tempfile, threading, time, urllib.parse, urllib.request, uuid
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

ENDPOINT, BUCKET, ANSWERS, TEMPLATE, DUCKDB = sys.argv[1:]
TYPES = {"string": "VARCHAR", "bigint": "BIGINT", "int": "INTEGER", "double": "DOUBLE", "boolean": "BOOLEAN"}
ARROW = {"string": "string", "bigint": "int64", "int": "int32", "double": "double", "boolean": "bool"}
FOLDERS = [("username", "string"), ("year", "int"), ("month", "int"), ("day", "int"), ("hour", "int")]


class Failed(Exception):
    """A query that would fail in Athena."""


# ---- S3 ----


def call(method, key, query="", body=None, bucket=BUCKET):
    url = f"{ENDPOINT}/{bucket}/{urllib.parse.quote(key)}{query}"
    return urllib.request.urlopen(urllib.request.Request(url, method=method, data=body), timeout=60).read()


def keys(prefix):
    found, after = [], ""
    while True:
        query = "?" + urllib.parse.urlencode({"list-type": "2", "prefix": prefix, "start-after": after})
        page = ET.fromstring(call("GET", "", query))
        names = [item.text for item in page.iter() if item.tag.endswith("Key")]
        found += names
        if not any(item.tag.endswith("IsTruncated") and item.text == "true" for item in page.iter()):
            return found
        after = names[-1]


def lines(key):
    return gzip.decompress(call("GET", key)).decode().splitlines()


# ---- The catalog of tables ----


def of_template():
    """The tables of the template: their columns."""
    tables = {}
    for part in open(TEMPLATE).read().split("Type: AWS::Glue::Table")[1:]:
        name = re.search(r"TableInput:\n\s+Name: (\w+)", part).group(1)
        tables[name] = re.findall(r"^            - \{Name: (\w+), Type: (\w+)\}", part, re.M)
    return tables


JSON = of_template()
FILES, VIEWS = {}, {}
# The query that runs, of which there is one at once, and its process.
CURRENT, RUNNING = [], []
PRCTL = ctypes.CDLL(None).prctl
LOCK = threading.Lock()


def create_table(sql):
    made = sqlglot.parse_one(sql, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(made, exp.Create) and made.kind == "TABLE" and made.args["exists"], sql
    name = made.find(exp.Table).name
    if name in FILES:
        return
    columns = [(c.name, c.args["kind"].sql("hive").lower()) for c in made.this.expressions]
    keys_of = [c.name for c in made.find(exp.PartitionedByProperty).find_all(exp.ColumnDef)]
    template = re.search(r"'storage.location.template' = 's3://[^/]+/([^']*)'", sql).group(1)
    assert all(f"'projection.{key}.type' = 'injected'" in sql and f"${{{key}}}" in template for key in keys_of), sql
    FILES[name] = {"columns": columns, "keys": keys_of, "template": template, "listed": "SymlinkTextInputFormat" in sql}


def create_view(sql):
    made = sqlglot.parse_one(sql, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(made, exp.Create) and made.kind == "VIEW" and made.args["replace"], sql
    run(exp.select("*").from_(made.expression.subquery("v")).limit(0), is_view=True)
    VIEWS[made.this.name] = made.expression


# ---- Queries ----


def says(select, column):
    """Returns whether a condition of a SELECT names the values of a column."""
    where = select.args.get("where")
    is_named = lambda node: node.this.name == column
    return where is not None and any(
        is_named(node) for kind in (exp.EQ, exp.In) for node in where.find_all(kind) if isinstance(node.this, exp.Column)
    )


def expanded(query):
    """Replaces views by their texts."""
    def put(node):
        if isinstance(node, exp.Table) and node.name in VIEWS:
            return VIEWS[node.name].copy().subquery(node.alias or node.name)
        return node
    return query.copy().transform(put)


def is_own(table):
    """Returns whether a table is a common table expression of its query."""
    node = table.parent
    while node is not None and not table.db:
        named = node.args.get("with") or node.args.get("with_")
        if named is not None and any(one.alias.lower() == table.name.lower() for one in named.expressions):
            return True
        node = node.parent
    return False


class Loaded:
    """The tables of a query, as files and statements of DuckDB."""

    def __init__(self, folder, query):
        self.folder, self.setup, self.names = folder, [], {}
        self.texts = {node.this for node in query.find_all(exp.Literal) if node.is_string}
        # The values that the conditions on each table name.
        self.named = {}
        for node in query.find_all(exp.Table):
            select = node.find_ancestor(exp.Select)
            where = select and select.args.get("where")
            literals = where.find_all(exp.Literal) if where else []
            self.named.setdefault(node.name, set()).update(it.this for it in literals if it.is_string)

    def table(self, name):
        if name not in self.names:
            alias = f"t{len(self.names)}"
            self.names[name] = alias
            self.setup.append(self.of_json(name, alias) if name in JSON else self.of_files(name, alias))
        return self.names[name]

    def rows(self, alias, columns, rows):
        path = f"{self.folder}/{alias}.json"
        with open(path, "w") as out:
            for row in rows:
                out.write(json.dumps(dict(zip([name for name, _ in columns], row))) + "\n")
        kinds = ", ".join(f"'{name}': '{TYPES[kind]}'" for name, kind in columns)
        return f"CREATE TABLE {alias} AS SELECT * FROM read_ndjson('{path}', columns = {{{kinds}}}, maximum_object_size = 67108864);"

    def of_json(self, name, alias):
        own = JSON[name]
        found = []
        for user in sorted(self.texts):
            if not re.fullmatch(r"[a-z0-9.-]+", user):
                continue
            for key in keys(f"username={user}/{name}/"):
                place = re.fullmatch(r"username=(.*?)/.*?/year=(\d+)/month=(\d+)/day=(\d+)/hour=(\d+)/.*", key)
                for line in lines(key):
                    event = {member.lower(): value for member, value in json.loads(line).items()}
                    row = [as_openx(event.get(column), kind) for column, kind in own]
                    found.append(row + [place[1], *map(int, place.groups()[1:]), f"s3://{BUCKET}/{key}"])
        return self.rows(alias, own + FOLDERS + [("$path", "string")], found)

    def of_files(self, name, alias):
        table = FILES[name]
        columns, keys_of = table["columns"], table["keys"]
        pattern = re.escape(table["template"])
        for key in keys_of:
            pattern = pattern.replace(re.escape(f"${{{key}}}"), f"(?P<{key}>[^/]+)")
        parts, rows = [], []
        named = self.named[name]
        for text in named:
            for path in keys(f"sealed/{text}/") if re.match(r"\d{4}-", text) else []:
                place = re.fullmatch(pattern + "[^/]+", path)
                if not place or not set(place.groupdict().values()) <= named:
                    continue
                if table["listed"]:
                    for url in call("GET", path).decode().splitlines():
                        key = url.removeprefix(f"s3://{BUCKET}/")
                        rows += [[line, *(place[k] for k in keys_of)] for line in lines(key)]
                    continue
                local = f"{self.folder}/{alias}-{len(parts)}.parquet"
                open(local, "wb").write(call("GET", path))
                schema = pq.read_schema(local)
                for column, kind in columns:
                    if str(schema.field(column).type).replace("large_", "") != ARROW[kind]:
                        raise Failed(f"HIVE_BAD_DATA: {column} of {path} is {schema.field(column).type}, not {kind}")
                own = ", ".join(f'"{column}"' for column, _ in columns)
                chosen = ", ".join(f"'{place[key]}' AS {key}" for key in keys_of)
                parts.append(f"SELECT {own}, {chosen} FROM read_parquet('{local}', hive_partitioning = false)")
        all_columns = columns + [(key, "string") for key in keys_of]
        if not parts:
            return self.rows(alias, all_columns, rows)
        return f"CREATE TABLE {alias} AS {' UNION ALL '.join(parts)};"


def as_openx(value, kind):
    """Converts a value as OpenX's SerDe does: for a text column to its JSON, and to null where the type does not fit."""
    if value is None:
        return None
    if kind == "string":
        return value if isinstance(value, str) else json.dumps(value)
    fits = {"bigint": int, "double": (int, float), "boolean": bool}[kind]
    return value if isinstance(value, fits) and (kind == "boolean" or not isinstance(value, bool)) else None


def run(query, is_view=False, database="weir"):
    """Runs a SELECT of Athena's grammar; returns an Arrow table."""
    query = expanded(query)
    own = {id(node) for node in query.find_all(exp.Table) if is_own(node)}
    with tempfile.TemporaryDirectory() as folder:
        loaded = Loaded(folder, query)
        for node in list(query.find_all(exp.Table)):
            name, select = node.name, node.find_ancestor(exp.Select)
            if id(node) in own:
                continue
            if not (node.db or database):
                raise Failed(f"TABLE_NOT_FOUND: line 1:1: Table 'awsdatacatalog.default.{name}' does not exist")
            if name not in JSON and name not in FILES:
                raise Failed(f"TABLE_NOT_FOUND: {name}")
            for key in FILES[name]["keys"] if name in FILES else []:
                if not says(select, key):
                    raise Failed(f"CONSTRAINT_VIOLATION: For the injected projected partition column {key}, the WHERE clause must contain only static equality conditions")
            if name in JSON and not is_view and not any(says(one, "username") for one in query.find_all(exp.Select)):
                raise Failed("CONSTRAINT_VIOLATION: For the injected projected partition column username …")
            node.replace(exp.to_table(loaded.table(name), alias=exp.to_identifier(node.alias or name, quoted=True)))
        # DuckDB takes no sample of parentheses: here, each sample is of all.
        for sample in list(query.find_all(exp.TableSample)):
            assert sample.args["percent"].this == "100", sample
            sample.pop()
        text = query.sql("duckdb")
        script = "\n".join(["SET TimeZone = 'UTC';", *loaded.setup, f"COPY ({text}) TO '{folder}/out.parquet' (FORMAT parquet);"])
        # It ends with this process, which tests kill.
        ran = subprocess.Popen([program()[0], "-batch", "-bail"], stdin=-1, stdout=-1, stderr=-1, text=True, start_new_session=True, preexec_fn=lambda: PRCTL(1, signal.SIGKILL))
        RUNNING.append(ran.pid)
        _, said = ran.communicate(script)
        RUNNING.remove(ran.pid)
        if ran.returncode != 0 or said:
            raise Failed(f"{said}\n{text}")
        return pq.read_table(f"{folder}/out.parquet")


def program():
    """The program that pip's command starts as another process, which would outlive the command."""
    return [*pathlib.Path(DUCKDB).resolve().parent.parent.glob("lib/python3*/site-packages/duckdb_cli/duckdb"), DUCKDB]


def unload(sql):
    found = re.fullmatch(r"UNLOAD \((.*)\) TO 's3://([^/]+)/([^']*/)' WITH \(format = 'PARQUET', compression = 'ZSTD'\)", sql, re.S)
    if not found or found[2] != BUCKET:
        raise Failed(f"SYNTAX_ERROR: {sql}")
    if keys(found[3]):
        raise Failed(f"HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: {found[3]}")
    rows = run(parsed(found[1]))
    for part in (rows.take(pa.array(range(first, rows.num_rows, 2), pa.int64())) for first in (0, 1)):
        if part.num_rows:
            out = pa.BufferOutputStream()
            pq.write_table(part, out, compression="zstd")
            call("PUT", f"{found[3]}{uuid.uuid4()}", body=out.getvalue().to_pybytes())


def parsed(sql):
    return sqlglot.parse_one(sql, read="athena", error_level=sqlglot.ErrorLevel.RAISE)


def answer(sql, database):
    """Runs a statement; returns the answer's columns and rows."""
    if sql.startswith("CREATE EXTERNAL TABLE "):
        return create_table(sql)
    if sql.startswith("CREATE OR REPLACE VIEW "):
        return create_view(sql)
    if sql.startswith("UNLOAD "):
        return unload(sql)
    return run(parsed(sql), database=database)


# ---- The service ----

QUERIES, TOKENS = {}, {}


def start(body):
    token = body["ClientRequestToken"]
    if token in TOKENS:
        return {"QueryExecutionId": TOKENS[token]}
    name = str(uuid.uuid4())
    query = QUERIES[name] = {"state": "RUNNING", "reason": "", "rows": None, "body": body, "at": time.time()}
    TOKENS[token] = name

    def work():
        try:
            with LOCK:
                if query["state"] != "RUNNING":
                    return
                CURRENT[:] = [name]
                query["rows"] = answer(body["QueryString"], body.get("QueryExecutionContext", {}).get("Database"))
            if body.get("WorkGroup", "").endswith("-queries"):
                call("PUT", place(name), body=csv(query["rows"]), bucket=ANSWERS)
            query["state"] = "SUCCEEDED" if query["state"] == "RUNNING" else query["state"]
        except Exception as error:
            if query["state"] == "RUNNING":
                query["reason"], query["state"] = f"{type(error).__name__}: {error}", "FAILED"

    threading.Thread(target=work, daemon=True).start()
    return {"QueryExecutionId": name}


def place(name):
    return f"athena-results/queries/{name}.csv"


def csv(rows):
    """Returns an answer's file: each value is in quotes, and a null is nothing."""
    quoted = lambda cell: '"' + cell.replace('"', '""') + '"'
    lines = [rows.column_names] + [[text(value).get("VarCharValue") for value in row.values()] for row in rows.to_pylist()]
    return "".join(",".join("" if cell is None else quoted(cell) for cell in line) + "\n" for line in lines).encode()


def text(value):
    if value is None:
        return {}
    return {"VarCharValue": {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)}


def kind(of):
    """Returns Athena's name of a type."""
    numbers = pa.types.is_integer(of) and "bigint" or pa.types.is_floating(of) and "double" or pa.types.is_boolean(of) and "boolean"
    return numbers or "varchar"


def results(body):
    rows = QUERIES[body["QueryExecutionId"]]["rows"]
    names = rows.column_names
    data = [{"Data": [{"VarCharValue": name} for name in names]}]
    first, most = int(body.get("NextToken", 0)), body.get("MaxResults", 1000)
    data += [{"Data": [text(row[name]) for name in names]} for row in rows.to_pylist()]
    columns = [{"Name": field.name, "Type": kind(field.type)} for field in rows.schema]
    more = {"NextToken": str(first + most)} if first + most < len(data) else {}
    return {"ResultSet": {"Rows": data[first : first + most], "ResultSetMetadata": {"ColumnInfo": columns}}, **more}


def execution(body):
    query = QUERIES[body["QueryExecutionId"]]
    status = {"State": query["state"], "StateChangeReason": query["reason"], "SubmissionDateTime": query["at"]}
    asked = {"Query": query["body"]["QueryString"], "WorkGroup": query["body"].get("WorkGroup", "primary")}
    asked["ResultConfiguration"] = {"OutputLocation": f"s3://{ANSWERS}/{place(body['QueryExecutionId'])}"}
    return {"QueryExecution": {"QueryExecutionId": body["QueryExecutionId"], **asked, "Status": status, "Statistics": {"DataScannedInBytes": 0}}}


def stop(body):
    query = QUERIES[body["QueryExecutionId"]]
    if query["state"] == "RUNNING":
        query["state"], query["reason"] = "CANCELLED", "Query cancelled by user"
        for process in RUNNING[:] if CURRENT == [body["QueryExecutionId"]] else []:
            os.killpg(process, signal.SIGKILL)
    return {}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        target = self.headers["x-amz-target"] or ""
        if target.startswith("AmazonAthena."):
            operations = {"StartQueryExecution": start, "GetQueryExecution": execution, "GetQueryResults": results, "StopQueryExecution": stop}
            asked = json.loads(body)
            if asked.get("QueryExecutionId", "") not in {"", *QUERIES}:
                error = {"__type": "InvalidRequestException", "Message": f"QueryExecution {asked['QueryExecutionId']} was not found"}
                return self.send(400, [("content-type", "application/x-amz-json-1.1")], json.dumps(error).encode())
            answered = json.dumps(operations[target.removeprefix("AmazonAthena.")](asked)).encode()
            return self.send(200, [("content-type", "application/x-amz-json-1.1")], answered)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        passed = http.client.HTTPConnection(urllib.parse.urlsplit(ENDPOINT).netloc, timeout=60)
        passed.request(self.command, self.path, body, headers)
        answer = passed.getresponse()
        content = answer.read()
        own = ("connection", "content-length", "transfer-encoding", "date", "server")
        self.send(answer.status, [header for header in answer.getheaders() if header[0].lower() not in own], content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def send(self, status, headers, content):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
