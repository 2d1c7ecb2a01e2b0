#!/usr/bin/env python3
"""Run the Autobahn TestSuite against one WebSocket server, or against one client; print a summary.

    run_cases.py [options] URL OUTDIR [CASE ...]          the fuzzing client against the server at URL
    run_cases.py --client [options] PROGRAM OUTDIR [CASE ...]
          the fuzzing server against a client: `PROGRAM echo URL` must send each message back, and end with the case

CASE is a case id (1.1.1) or a pattern (9.*); a leading '-' or '!' excludes (-9.* / '!9.*').
No CASE, or only excluding ones, means all cases.

Exit: 0 nothing failed; 1 some case failed (with --strict: is not OK or INFORMATIONAL); 2 the run is
incomplete (cases not run, server gone, time over, exception inside the fuzzer).

The cases, their verdicts and the reports are the suite's own (autobahntestsuite.fuzzing).
This file only hands out the cases, to one or more worker processes, and merges results.
"""
import argparse
import collections
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time

RED_BEHAVIOR = {"FAILED"}
RED_CLOSE = {"FAILED", "UNCLEAN"}          # what the suite's own HTML report shows in red
STRICT_OK = {"OK", "INFORMATIONAL"}


def key(cid):
    return [int(x) for x in cid.split(".")]


# --------------------------------------------------------------------- worker
def take(path):
    """Next index from the shared counter."""
    with open(path, "r+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        n = int(f.read() or 0)
        f.seek(0)
        f.truncate()
        f.write(str(n + 1))
    return n


def worker(specfile):
    with open(specfile) as f:
        job = json.load(f)
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG: no worker outlives the parent
    from twisted.internet import epollreactor
    epollreactor.install()
    from twisted.internet import reactor
    from twisted.internet import protocol
    from twisted.python import log
    logf = open(job["log"], "w")
    log.startLogging(logf, setStdout=False)
    from autobahn.twisted.websocket import connectWS
    from autobahntestsuite import fuzzing

    class Logging:
        noisy = False

        def logCase(self, r):
            super().logCase(r)
            self.createAgentCaseReportJSON(r["agent"], r["id"], self.outdir)
            if job["html"]:
                self.createAgentCaseReportHTML(r["agent"], r["id"], self.outdir)
            r["wirelog"] = []          # written out: no need to hold it
            with open(job["part"], "a") as f:
                f.write(json.dumps({k: r[k] for k in (
                    "id", "agent", "behavior", "behaviorClose", "remoteCloseCode", "localCloseCode", "duration",
                    "result", "resultClose", "reportTime", "reportCompressionRatio", "trafficStats", "wasClean",
                    "wasNotCleanReason")}) + "\n")

        def createReports(self, *a, **k):
            pass                       # the parent does

    class ClientFactory(Logging, fuzzing.FuzzingClientFactory):
        def nextCase(self):
            i = take(job["counter"])
            if i >= len(job["order"]):
                return False
            self.currentCaseId = job["order"][i]
            self.currentCaseIndex = self.CaseSet.CasesIndices[self.currentCaseId]
            return True

        def clientConnectionFailed(self, connector, reason):
            with open(job["part"], "a") as f:
                f.write(json.dumps({"connection_failed": reason.getErrorMessage(), "id": self.currentCaseId}) + "\n")
            reactor.stop()

    class ServerFactory(Logging, fuzzing.FuzzingServerFactory):
        """Serves one case at a time, each to a process of its own."""
        port_number = None
        waits_for = 0
        handed_out = 0

        def run_next(self):
            i = take(job["counter"])
            if i >= len(job["order"]):
                return reactor.stop()
            self.waits_for = 2         # the process's end, and the verdict
            self.handed_out += 1
            number = self.specCases.index(job["order"][i]) + 1
            url = "ws://127.0.0.1:%d/runCase?case=%d&agent=%s" % (self.port_number, number, job["agent"])
            reactor.spawnProcess(Ended(self), job["program"], [job["program"], "echo", url], env=None,
                                 childFDs={1: logf.fileno(), 2: logf.fileno()})

        def came(self):
            self.waits_for -= 1
            if self.waits_for == 0:
                reactor.callLater(0, self.run_next)

        def logCase(self, r):
            super().logCase(r)
            self.came()

        def ended(self):
            # A client that was refused gets no verdict; the suite waits for one that goes on for some seconds.
            reactor.callLater(15, self.give_up, self.handed_out)
            self.came()

        def give_up(self, case):
            if self.handed_out == case and self.waits_for > 0:
                self.waits_for = 0
                self.run_next()

    class Ended(protocol.ProcessProtocol):
        def __init__(self, factory):
            self.factory = factory

        def processEnded(self, reason):
            self.factory.ended()

    if job["fast"]:
        # compress what the fuzzer sends in 12.* and 13.* with isal (5-20 times faster than zlib level 6);
        # what it receives is still inflated, and so judged, by zlib
        import types
        import zlib
        from autobahn.websocket import compress_deflate
        from isal import isal_zlib

        def compressobj(level, method, wbits, memlevel):
            return isal_zlib.compressobj(1, zlib.DEFLATED, wbits)
        compress_deflate.zlib = types.SimpleNamespace(**dict(vars(zlib), compressobj=compressobj))
    sys.stdout = logf
    if job["program"]:
        factory = ServerFactory(job["spec"])
        listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
        factory.port_number = listening.getHost().port
        # The library compares Host with the port that it thinks it is on.
        factory.setSessionParameters(url="ws://127.0.0.1:%d" % factory.port_number)
        reactor.callWhenRunning(factory.run_next)
    else:
        ClientFactory(job["spec"])
    reactor.run()


# --------------------------------------------------------------------- parent
def weight(cls):
    return getattr(cls, "LEN", 0) * getattr(cls, "COUNT", 0) * (1 if not getattr(cls, "AUTOFRAGSIZE", 0) else 3)


def main():
    ap = argparse.ArgumentParser(usage="%(prog)s [options] URL OUTDIR [CASE ...]")
    ap.add_argument("--agent", default="server", help="name of the server in the reports")
    ap.add_argument("--client", action="store_true", help="judge a client: PROGRAM stands in place of URL")
    ap.add_argument("-j", "--jobs", type=int, default=1, help="worker processes (1)")
    ap.add_argument("--html", action="store_true", help="HTML reports too")
    ap.add_argument("--timeout", type=float, default=0.0, help="seconds for all; 0: none")
    ap.add_argument("--strict", action="store_true",
                    help="exit 1 unless every behavior and behaviorClose is OK or INFORMATIONAL")
    ap.add_argument("--fail-on", default="", metavar="STATUS,..",
                    help="these fail the run too, e.g. UNIMPLEMENTED,NON-STRICT,'WRONG CODE'")
    ap.add_argument("--fast", action="store_true",
                    help="the fuzzer compresses with isal instead of zlib in 12.* and 13.*")
    ap.add_argument("--list", action="store_true", help="print the case ids and stop")
    argv = sys.argv[1:]
    excl = [a[1:] for a in argv if re.match(r"^[-!]\d", a)]
    a, rest = ap.parse_known_args([x for x in argv if not re.match(r"^[-!]\d", x)])
    a.fail_on = {x.strip() for x in a.fail_on.split(",") if x.strip()}
    if any(x.startswith("-") for x in rest):
        ap.error("unknown option " + " ".join(rest))
    if a.list:
        rest = ["ws://x/", "/nonexistent"] + rest
    if len(rest) < 2:
        ap.error("URL and OUTDIR are needed")
    url, outdir, cases = rest[0], os.path.abspath(rest[1]), rest[2:] or ["*"]

    from autobahntestsuite import fuzzing
    from autobahntestsuite.caseset import CaseSet
    cs = CaseSet(fuzzing.CaseSetname, fuzzing.CaseBasename, fuzzing.Cases, fuzzing.CaseCategories, fuzzing.CaseSubCategories)
    todo = cs.parseSpecCases({"cases": cases, "exclude-cases": excl})
    unknown = [c for c in todo if c not in cs.CasesById]
    if unknown or not todo:
        sys.exit("no such case: %s" % (" ".join(unknown) or "nothing selected"))
    if a.list:
        print("\n".join(todo))
        return 0

    os.makedirs(outdir, exist_ok=True)
    for n in os.listdir(outdir):
        if n.endswith((".json", ".html", ".jsonl", ".log")) or n == ".counter":
            os.remove(os.path.join(outdir, n))
    jobs = max(1, min(a.jobs, len(todo)))
    order = todo if jobs == 1 else sorted(todo, key=lambda c: -weight(cs.CasesById[c]))
    counter = os.path.join(outdir, ".counter")
    with open(counter, "w") as f:
        f.write("0")
    t0 = time.time()
    procs, parts, logs = [], [], []
    for i in range(jobs):
        part, lg = os.path.join(outdir, ".part%d.jsonl" % i), os.path.join(outdir, "worker%d.log" % i)
        job = {"program": os.path.abspath(url) if a.client else None, "agent": a.agent, "order": order, "counter": counter, "part": part, "log": lg, "html": a.html, "fast": a.fast,
               "spec": {"url": "ws://127.0.0.1:9001", "outdir": outdir, "servers": [{"agent": a.agent, "url": url, "options": {"version": 18}}],
                        "cases": todo, "exclude-cases": [], "exclude-agent-cases": {}}}
        sf = os.path.join(outdir, ".job%d.json" % i)
        with open(sf, "w") as f:
            json.dump(job, f)
        parts.append(part)
        logs.append(lg)
        # own session: ^C reaches only the parent, which kills the workers outright (a worker that ends
        # in good order would log its unfinished case as FAILED)
        procs.append(subprocess.Popen([sys.executable, "-W", "ignore", os.path.abspath(__file__), "--worker", sf],
                                      start_new_session=True))
    timed_out = False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        while any(p.poll() is None for p in procs):
            time.sleep(0.05)
            if a.timeout and time.time() - t0 > a.timeout:
                timed_out = True
                break
    finally:
        for p in procs:
            if p.poll() is None:
                p.kill()
        for p in procs:
            p.wait()
    wall = time.time() - t0

    res, conn_err = {}, []
    for part in parts:
        if os.path.exists(part):
            with open(part) as f:
                for line in f:
                    r = json.loads(line)
                    if "connection_failed" in r:
                        conn_err.append("case %s: %s" % (r["id"], r["connection_failed"]))
                    else:
                        res[r["id"]] = r
            os.remove(part)
    os.remove(counter)
    for i in range(jobs):
        os.remove(os.path.join(outdir, ".job%d.json" % i))
    tracebacks = 0
    for lg in logs:
        if os.path.exists(lg):
            with open(lg, errors="replace") as f:
                tracebacks += f.read().count("Traceback (most recent call last)")

    fac = fuzzing.FuzzingFactory(outdir)
    fac.CaseSet = cs
    fac.agents = {a.agent: res}
    fac.createMasterReportJSON(outdir)
    if a.html:
        fac.createMasterReportHTML(outdir)
    missing = [c for c in todo if c not in res]
    return summary(a, url, outdir, todo, res, missing, conn_err, tracebacks, timed_out, wall, jobs)


def collapse(ids, res, todo):
    """12.1.1 .. 12.1.18 -> 12.1.*(18) where the whole sub-group (3 cases or more) is listed"""
    sub = collections.OrderedDict()
    for i in todo:
        if i.count(".") == 2:
            sub.setdefault(i.rsplit(".", 1)[0], []).append(i)
    have, out, done = set(ids), [], set()
    for i in ids:
        g = i.rsplit(".", 1)[0]
        if len(sub.get(g, ())) >= 3 and all(x in have for x in sub[g]):
            if g not in done:
                done.add(g)
                out.append("%s.*(%d)" % (g, len(sub[g])))
        else:
            out.append(i)
    return out


def wrap(ids, first, width=100):
    out, line = [], first
    for s in ids:
        if len(line) + 1 + len(s) > width and line.strip():
            out.append(line)
            line = " " * len(first)
        line += (" " if line.strip() else "") + s
    return "\n".join(out + [line])


def summary(a, url, outdir, todo, res, missing, conn_err, tracebacks, timed_out, wall, jobs):
    b = collections.Counter(r["behavior"] for r in res.values())
    c = collections.Counter(r["behaviorClose"] for r in res.values())
    print("Autobahn TestSuite: agent %s at %s" % (a.agent, url))
    print("%d of %d cases run in %.1f s (%d job%s); reports in %s" % (len(res), len(todo), wall, jobs, "s"[:jobs > 1], outdir))
    print("behavior:      " + (", ".join("%s %d" % kv for kv in b.most_common()) or "-"))
    print("behaviorClose: " + (", ".join("%s %d" % kv for kv in c.most_common()) or "-"))
    print("%-7s %6s %6s %11s %13s %7s %14s  %s" % ("group", "cases", "OK", "NON-STRICT", "INFORMATIONAL", "FAILED", "UNIMPLEMENTED", "close not OK"))
    groups = collections.OrderedDict()
    for cid in todo:
        groups.setdefault(cid.split(".")[0], []).append(cid)
    for g, ids in groups.items():
        gb = collections.Counter(res[i]["behavior"] for i in ids if i in res)
        gc = sum(res[i]["behaviorClose"] not in ("OK", "INFORMATIONAL") for i in ids if i in res)
        print("%-7s %6d %6d %11d %13d %7d %14d  %d" % (g + ".*", len(ids), gb["OK"], gb["NON-STRICT"], gb["INFORMATIONAL"], gb["FAILED"], gb["UNIMPLEMENTED"], gc))
    by = collections.OrderedDict()
    for cid in sorted(res, key=key):
        r = res[cid]
        if r["behavior"] != "OK" or r["behaviorClose"] != "OK":
            by.setdefault((r["behavior"], r["behaviorClose"]), []).append(cid)
    if by:
        print("not OK (behavior / close):")
        for (x, y), ids in sorted(by.items(), key=lambda kv: (kv[0][0] not in RED_BEHAVIOR, kv[0])):
            print(wrap(collapse(ids, res, todo), "  %s / %s (%d): " % (x, y, len(ids))))
    elif res:
        print("every case: behavior OK, close OK")
    bad = [cid for cid, r in res.items() if r["behavior"] in RED_BEHAVIOR | a.fail_on or r["behaviorClose"] in RED_CLOSE | a.fail_on]
    for cid in sorted(bad, key=key)[:8]:
        r = res[cid]
        print("  ! %s: %s | %s" % (cid, r["result"], r["resultClose"]))
    if len(bad) > 8:
        print("  ! ... and %d more" % (len(bad) - 8))
    if missing:
        print(wrap(collapse(missing, res, todo), "NOT RUN (%d): " % len(missing)))
    for e in conn_err[:3]:
        print("connection failed: " + e)
    if timed_out:
        print("TIMED OUT after %.0f s" % a.timeout)
    if tracebacks:
        print("WARNING: %d exceptions inside the fuzzer (see worker*.log): verdicts of those cases are not to be trusted" % tracebacks)
    notok = [r for r in res.values() if r["behavior"] not in STRICT_OK or r["behaviorClose"] not in STRICT_OK]
    if missing or timed_out or tracebacks:
        rc, word = 2, "INCOMPLETE"
    elif bad or (a.strict and notok):
        rc, word = 1, "FAIL"
    else:
        rc, word = 0, "PASS"
    print("%s (exit %d): %d failed, %d not strictly OK, %d not run" % (word, rc, len(bad), len(notok), len(missing)))
    return rc


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2])
    else:
        sys.exit(main())
