"""The server itself: addresses that it takes and refuses, a real connection, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from fakes import BlobGenerator, blob_directions

from directions.cli.main import main
from directions.errors import UserError
from directions.explorer.app import USUAL_PORT, address, listen


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org", "", "127.0.0.1; rm"])
def test_listen_refuses_addresses_that_others_reach(host):
    """With the way that there is instead."""
    with pytest.raises(UserError, match=r"host must be localhost, 127\.0\.0\.1 or ::1, got .*ssh -L"):
        listen(host, 0)


def test_listen_says_that_a_port_is_taken():
    """And what to do; where none is asked for, two pages of two files may be open at once."""
    with listen("localhost", 0) as first:
        with pytest.raises(UserError, match=r"port \d+ of 127.0.0.1 cannot be had: another program has it. Give"):
            listen("127.0.0.1", first.getsockname()[1])
        assert address(first) == f"http://127.0.0.1:{first.getsockname()[1]}/"
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert second.getsockname()[1] not in (first.getsockname()[1], USUAL_PORT)


def test_command_serves_and_ends_with_ctrl_c(tmp_path):
    """It prints the address on stdout, and ends with status 0 and no traceback."""
    file = tmp_path / "file.safetensors"
    code = (
        "import sys\nfrom fakes import BlobGenerator\nfrom directions.generators import registry\n"
        "registry.load_generator = lambda *_, **__: BlobGenerator()\nfrom directions.cli.main import main\n"
        f"sys.exit(main(['explore', {str(file)!r}, '--no-open', '--port', '0']))"
    )
    blob_directions(BlobGenerator()).save(file)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert b"file.safetensors" in answer.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == ""
    assert err.splitlines() == ["Loading blob …", "Ctrl-C ends it.", "Ended."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host must be localhost"),
        (["--port", "70000"], "--port must be from 0"),
        (["--generator", "builtin"], "with |z| = 6, but"),
        (["--no-starlette"], "pip install 'biggan-directions[explore]'"),
    ],
    ids=" ".join,
)
def test_command_refuses_what_is_wrong(tmp_path, capsys, monkeypatch, arguments, message):
    """Exit status 2 and one sentence, also without the extra."""
    blob_directions().save(tmp_path / "x.safetensors")
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: BlobGenerator(dim_z=12))
    if arguments == ["--no-starlette"]:
        monkeypatch.setitem(sys.modules, "starlette", None)
        arguments = []
    assert main(["explore", str(tmp_path / "x.safetensors"), "--no-open", *arguments]) == 2
    assert message in capsys.readouterr().err
