#!/usr/bin/env python3
"""Port the pip-installed AutobahnTestSuite 25.10.1 (Python 2 code) to Python 3, in place.

    port_py3.py

What it does, mechanically, to the package autobahntestsuite of the interpreter that runs it,
and to one line of autobahn (0.10.9, the version the suite is pinned to; it supports Python 3):

* Every case file is read as latin-1, so a Python 2 byte string literal becomes a Python 3
  str with one code point (0..255) per octet.  Text in a case file therefore behaves
  exactly as the Python 2 `str` did (indexing, +, ''.join, len).  At the protocol boundary
  (sendFrame, sendMessage, sendMessageFrameData, sendCloseFrame out; onMessage, onPong in)
  it is converted to and from octets with latin-1.  No payload is retyped by hand.
* syntax: print, has_key, xrange, `except X, e`, integer division, implicit relative imports.
* type(name, (object, Case), ..) -> (Case,)  (illegal MRO in Python 3)
* case comparison: pickle.dumps(a) == pickle.dumps(b) -> a == b (in Python 3 the pickle
  depends on object identity, so equal lists may pickle differently).
* pkg_resources, jinja2, the WAMP / wsperf / massconnect modes and the wstest front end
  are dropped: run_cases.py drives autobahntestsuite.fuzzing directly.

Every substitution states how often it must match; anything else is an error, so a
different upstream version cannot be half-ported silently.
"""
import os
import re
import sysconfig

SUITE_VERSION = "25.10.1"
LIB_VERSION = "0.10.9"
MARK = "# ported to Python 3 by port_py3.py\n"

COMPAT = '''
"""Python 2 `str` semantics for the case files: str with code points 0..255 == octets."""
import binascii as _b
import os as _os
from autobahn.websocket.utf8validator import Utf8Validator as _V


def octets(s):
   return s.encode("latin-1") if isinstance(s, str) else bytes(s)


def b2a_hex(s):
   return _b.b2a_hex(octets(s)).decode("ascii")


hexlify = b2a_hex


class Utf8Validator:
   def __init__(self):
      self._v = _V()

   def reset(self):
      return self._v.reset()

   def validate(self, s):
      return self._v.validate(octets(s))


def text(s):
   """Octets (bytes, or latin-1 str) to text for a report."""
   if s is None:
      return None
   b = octets(s) if not isinstance(s, str) or all(ord(c) < 256 for c in s) else s.encode("utf8")
   try:
      return b.decode("utf8")
   except UnicodeDecodeError:
      return "0x" + _b.b2a_hex(b).decode("ascii")


def resource_filename(package, name):
   return _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), name)
'''

INIT = '''
__version__ = "%s"
version = __version__
''' % SUITE_VERSION


def sub(text, where, pat, rep, n, flags=re.M):
    """n: exact number of matches wanted, or None for any number"""
    out, got = re.subn(pat, rep, text, flags=flags)
    if n is not None and got != n:
        raise SystemExit("port_py3: %s: %r matched %d times, wanted %d" % (where, pat, got, n))
    return out


def rd(p):
    with open(p, encoding="latin-1", newline="") as f:
        return f.read().replace("\r\n", "\n")


def wr(p, s, enc="latin-1"):
    with open(p, "w", encoding=enc, newline="\n") as f:
        f.write(s)


def common(t, where):
    t = sub(t, where, r"\bxrange\(", "range(", None)
    t = sub(t, where, r"\bunichr\(", "chr(", None)
    t = sub(t, where, r"([\w\.\[\]]+)\.has_key\((\w+|\"[\w-]+\")\)", r"(\2 in \1)", None)
    t = sub(t, where, r"^(\s*)print[ \t]+(\S.*)$", r"\1print(\2)", None)
    t = sub(t, where, r"^(\s*)print[ \t]*$", r"\1print()", None)
    t = sub(t, where, r"^(\s*except[^:\n]*?),\s*(\w+):", r"\1 as \2:", None)
    return t


def port_case(p):
    name = os.path.basename(p)
    t = rd(p)
    t = sub(t, name, r"^#.*coding[:=].*\n", "", None)
    t = common(t, name)
    t = sub(t, name, r"^from (case\w*) import", r"from .\1 import", None)
    t = sub(t, name, r"\(object, Case, \)", "(Case,)", None)
    t = sub(t, name, r"^import binascii$", "from .. import py2compat as binascii", None)
    t = sub(t, name, r"^from autobahn\.websocket\.utf8validator import Utf8Validator$",
            "from ..py2compat import Utf8Validator", None)
    if name == "__init__.py":
        t = sub(t, name, r"^from \.case9_9_1 import \*\n", "", 1)
    if name == "case.py":
        t = sub(t, name, r"return pickle\.dumps\(obj1\) == pickle\.dumps\(obj2\)", "return obj1 == obj2", 1)
        t = sub(t, name, r"^import pickle\n", "", 1)
    if name == "case10_1_1.py":
        t = sub(t, name, r"len\(self\.payload\) / self", "len(self.payload) // self", 1)
    if name == "case12_x_x.py":
        t = sub(t, name, r"^import copy, os, pkg_resources, hashlib, binascii$",
                "import copy, os, hashlib\nfrom .. import py2compat as pkg_resources\nfrom .. import py2compat as binascii", 1)
        # works on octets: hand it the octets
        t = sub(t, name, r"^(def onMessage\(self, msg, binary\):\n)", r"\1   msg = pkg_resources.octets(msg)\n", 1)
        t = sub(t, name, r"msg = ''$", "msg = '' if not self.TESTDATA['binary'] else b''", 1)
    if name == "case9_9_1.py":     # not in the suite's list of cases
        os.remove(p)
        return
    t = "# -*- coding: latin-1 -*-\n" + MARK + t
    compile(t.encode("latin-1"), p, "exec")
    wr(p, t)


def port_fuzzing(p):
    w = "fuzzing.py"
    t = common(rd(p), w)
    t = sub(t, w, r"^import os, json, binascii, time, textwrap, pkg_resources$",
            "import os, json, time, textwrap\nfrom . import py2compat as binascii\nfrom .py2compat import octets, text", 1)
    t = sub(t, w, r"^from (case|caseset|report) import", r"from .\1 import", 3)
    t = sub(t, w, r'   ellipses = " \.\.\."\n', '   ellipses = " ..."\n   data = octets(data)\n', 2)
    t = sub(t, w, r"dd = data\[:maxlen\] \+ ellipses", "dd = data[:maxlen] + octets(ellipses)", 1)
    t = sub(t, w, r"^   except:\n      return '0x'", "   except UnicodeDecodeError:\n      return '0x'", 1)
    t = sub(t, w, r"p = ''\.join\(payload\)", "p = b''.join(payload)", 1)
    # report values: octets to text
    t = sub(t, w, r"self\.http_request_data if hasattr", "text(self.http_request_data) if hasattr", 1)
    t = sub(t, w, r"self\.http_response_data if hasattr", "text(self.http_response_data) if hasattr", 1)
    t = sub(t, w, r'"localCloseReason": self\.localCloseReason,', '"localCloseReason": text(self.localCloseReason),', 1)
    t = sub(t, w, r'"description": self\.Case\.DESCRIPTION,', '"description": text(self.Case.DESCRIPTION),', 1)
    t = sub(t, w, r"% CCase\.DESCRIPTION\)", "% text(CCase.DESCRIPTION))", 1)
    # the mask is logged as hex text already; upstream hexlified it twice in the HTML
    t = sub(t, w, r"mmask = binascii\.b2a_hex\(t\[6\]\)", "mmask = t[6]", 1)
    t = sub(t, w, r"ll\.encode\('utf8'\)", "ll", 1)
    t = sub(t, w, r"f\.write\(\((.*)\)\.encode\(\"utf-8\"\)\)", r"f.write(\1)", 1)
    t = sub(t, w, r"(open\(os\.path\.join\(outdir, report_filename\), 'w')\)", r"\1, encoding='utf-8')", 4)
    # fuzzing server helpers
    t = sub(t, w, r"self\.sendMessage\(json\.dumps\(", "self.sendMessage(json.dumps(", 3)
    t = sub(t, w, r"json\.loads\(msg\)", "json.loads(text(msg))", 1)
    t = sub(t, w, r"pkg_resources\.resource_filename\(", "binascii.resource_filename(", 1)
    t = sub(t, w, r"webdir\.putChild\('cwd'", "webdir.putChild(b'cwd'", 1)
    t = sub(t, w, r"log\.msg\(\"Pong received: \" \+ payload\)", 'log.msg("Pong received: %r" % payload)', 1)
    # the protocol boundary
    t = sub(t, w, r"self\.runCase\.onMessage\(msg, binary\)", 'self.runCase.onMessage(msg.decode("latin-1"), binary)', 1)
    t = sub(t, w, r"self\.runCase\.onPong\(payload\)", 'self.runCase.onPong(payload.decode("latin-1"))', 1)
    t = sub(t, w, r"^   MAX_WIRE_LOG_DATA = 256\n", '''   MAX_WIRE_LOG_DATA = 256

   def sendFrame(self, opcode, payload = b'', *args, **kwargs):
      return super().sendFrame(opcode, octets(payload), *args, **kwargs)

   def sendMessage(self, payload, *args, **kwargs):
      return super().sendMessage(octets(payload), *args, **kwargs)

   def sendMessageFrameData(self, payload, *args, **kwargs):
      return super().sendMessageFrameData(octets(payload), *args, **kwargs)

   def sendCloseFrame(self, code = None, reasonUtf8 = None, isReply = False):
      return super().sendCloseFrame(code = code, reasonUtf8 = None if reasonUtf8 is None else octets(reasonUtf8), isReply = isReply)
''', 1)
    t = MARK + t
    compile(t, p, "exec")
    wr(p, t)


def main():
    site = sysconfig.get_paths()["purelib"]
    suite, lib = os.path.join(site, "autobahntestsuite"), os.path.join(site, "autobahn")
    init = os.path.join(suite, "__init__.py")
    if MARK in rd(init):
        print("port_py3: already ported")
        return
    if '"%s"' % SUITE_VERSION not in rd(os.path.join(suite, "_version.py")):
        raise SystemExit("port_py3: not autobahntestsuite " + SUITE_VERSION)
    if LIB_VERSION not in rd(os.path.join(lib, "__init__.py")):
        raise SystemExit("port_py3: not autobahn " + LIB_VERSION)

    # the library: one integer division (sendFrame with payload_len)
    p = os.path.join(lib, "websocket", "protocol.py")
    t = rd(p)
    if "range(payload_len // len(payload))" not in t:
        t = sub(t, "protocol.py", r"range\(payload_len / len\(payload\)\)", "range(payload_len // len(payload))", 1)
        wr(p, t)

    keep = {"__init__.py", "_version.py", "caseset.py", "fuzzing.py", "report.py", "spectemplate.py"}
    for n in sorted(os.listdir(suite)):
        if n.endswith(".py") and n not in keep:
            os.remove(os.path.join(suite, n))
    for n in sorted(os.listdir(os.path.join(suite, "case"))):
        if n.endswith(".py"):
            port_case(os.path.join(suite, "case", n))

    p = os.path.join(suite, "caseset.py")
    t = common(rd(p), "caseset.py")
    t = sub(t, "caseset.py", r"replace\('\.', '\\\.'\)", r"replace('.', '\\\\.')", 3)
    wr(p, MARK + t)

    p = os.path.join(suite, "report.py")
    t = rd(p)
    t = t[:t.index("from zope.interface import implementer")]     # HtmlReport: WAMP only
    t = sub(t, "report.py", r"^import jinja2\nimport os\nimport sys\n", "", 1)
    t = sub(t, "report.py", r'^           "HtmlReport"\)', "          )", 1)
    t = sub(t, "report.py", r"^REPORT_DIR_PERMISSIONS = .*\n", "", None)
    compile(t, p, "exec")
    wr(p, MARK + t)

    port_fuzzing(os.path.join(suite, "fuzzing.py"))
    wr(os.path.join(suite, "py2compat.py"), MARK + COMPAT)
    wr(init, MARK + INIT)       # last: the mark says that the port is complete
    print("port_py3: autobahntestsuite %s ported to Python 3" % SUITE_VERSION)


main()
