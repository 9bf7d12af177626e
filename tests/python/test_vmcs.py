"""`cupel vmcs`: the doctor at the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cupel.cli import main

pytestmark = pytest.mark.usefixtures("native")

# A 64-bit guest with EPT and VPID on a 64-bit host, as `field = value`.
GOOD = {
    "pin_based_controls": 0x1F, "primary_processor_controls": 0x940061F2,
    "secondary_processor_controls": 0xAA, "exit_controls": 0x3F6FFF, "entry_controls": 0xD3FF,
    "io_bitmap_a": 0x4000, "io_bitmap_b": 0x5000, "msr_bitmap": 0x6000, "vpid": 1,
    "ept_pointer": 0x1001E, "cr4_guest_host_mask": 0x2000, "host_cr0": 0x80050033,
    "host_cr3": 0x8000, "host_cr4": 0x22A0, "host_cs_selector": 8, "host_ss_selector": 16,
    "host_tr_selector": 24, "host_rip": 0xFFFFFFFF81000000, "host_efer": 0xD01,
    "host_pat": 0x0007040600070406, "vmcs_link_pointer": 2**64 - 1, "guest_cr0": 0x80010031,
    "guest_cr3": 0x9000, "guest_cr4": 0x2020, "guest_efer": 0x500,
    "guest_pat": 0x0007040600070406, "guest_dr7": 0x400, "guest_rip": 0x100000,
    "guest_rflags": 2, "guest_cs_selector": 8, "guest_cs_access_rights": 0xA09B,
    "guest_cs_limit": 0xFFFFFFFF, "guest_tr_access_rights": 0x8B, "guest_tr_limit": 0x67,
    "guest_ldtr_access_rights": 0x10000,
    **{f"guest_{s}_access_rights": 0x10000 for s in ("es", "ds", "ss", "fs", "gs")},
}


def cupel(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, ["vmcs", *arguments], input=stdin)


def dump(**changes: int) -> str:
    return "".join(f"{name} = {value:#x}\n" for name, value in {**GOOD, **changes}.items())


def test_a_good_state_passes() -> None:
    result = cupel("check", "-", stdin=dump())
    assert result.exit_code == 0, result.stdout
    assert "every check holds on profile server" in result.stdout
    assert "assumed: the processor is in IA-32e mode" in result.stdout


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"vpid": 0}, "control.vpid.zero"),
        ({"guest_rflags": 0}, "guest.rflags.reserved"),
        ({"host_cr4": 0x20}, "host.cr4.fixed"),
        ({"ept_pointer": 0x10000}, "control.eptp.walk_length"),
        ({"guest_cs_access_rights": 0xE09B}, "guest.cs.d"),
    ],
)
def test_a_bad_state_exits_with_1_and_names_the_row(change: dict[str, int], row: str) -> None:
    result = cupel("check", "-", stdin=dump(**change))
    assert result.exit_code == 1
    assert row in result.stdout
    told = json.loads(cupel("check", "-", "--json", stdin=dump(**change)).stdout)
    assert told["outcome"]["decided_by"] == row
    assert [f["id"] for f in told["failures"]] == [row]
    assert told["failures"][0]["section"]
    assert {f["name"] for f in told["failures"][0]["fields"]} >= set(change)


def test_lines_not_understood_are_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_text(dump() + "guest_rfalgs = 2\nvpid = 0x12345\n")
    result = cupel("check", str(path))
    assert result.exit_code == 2
    line = len(GOOD) + 1
    assert f"{path}:{line}: unknown field 'guest_rfalgs'" in result.stderr
    assert "did you mean 'guest_rflags'?" in result.stderr
    assert f"{path}:{line + 1}: 0x12345 does not fit into vpid" in result.stderr
    assert cupel("check", "--lenient", str(path)).exit_code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "gives no field"), ("\x00\xff\n", "no value"), ("{", "malformed"), ("[]", "no value")],
)
def test_what_is_no_dump_is_bad_input(text: str, message: str) -> None:
    result = cupel("check", "-", stdin=text)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_huge_dump_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    result = cupel("check", str(path))
    assert result.exit_code == 2
    assert "larger than 1 MiB" in result.stderr
    assert cupel("check", str(tmp_path / "absent")).exit_code == 2
    assert cupel("check", str(tmp_path)).exit_code == 2


def test_the_profile_and_what_is_taken_from_it_decide() -> None:
    assert cupel("check", "-", "--profile", "haswell", stdin=dump()).exit_code == 0
    old = cupel("check", "-", "--profile", "nehalem", stdin=dump())
    assert old.exit_code == 1
    assert 'bit 7 "unrestricted guest" may not be 1' in old.stdout
    less = cupel("check", "-", "--without", "enable VPID", stdin=dump())
    assert less.exit_code == 1
    assert 'bit 5 "enable VPID" may not be 1' in less.stdout
    wrong = cupel("check", "-", "--profile", "pentium", stdin=dump())
    assert wrong.exit_code == 2
    assert "sapphire-rapids" in wrong.stderr
    assert cupel("check", "-", "--without", "enable magic", stdin=dump()).exit_code == 2


def test_a_32_bit_host() -> None:
    result = cupel("check", "-", "--host-mode", "32", stdin=dump())
    assert result.exit_code == 1
    assert "host.address_space_size.outside_ia32e" in result.stdout


def test_json_dumps_are_read() -> None:
    text = json.dumps({"fields": {name: hex(value) for name, value in GOOD.items()}})
    assert cupel("check", "-", stdin=text).exit_code == 0


def test_missing_fields_are_listed() -> None:
    told = json.loads(cupel("check", "-", "--json", stdin="guest_rflags = 2\n").stdout)
    assert "guest_cr0" in told["missing"]
    assert "guest_rflags" not in told["missing"]
    assert told["passes"] is False


def test_fields_follow_the_profile() -> None:
    names = {
        profile: {row["name"] for row in json.loads(cupel(
            "fields", "--json", "--profile", profile).stdout)}
        for profile in ("nehalem", "sapphire-rapids")
    }
    assert "guest_s_cet" in names["sapphire-rapids"] - names["nehalem"]
    assert names["nehalem"] < names["sapphire-rapids"]
    assert "0800H       16  guest state  guest_es_selector" in cupel("fields").stdout


def test_rows_are_listed_in_order() -> None:
    rows = json.loads(cupel("rows", "--json").stdout)
    assert len({row["id"] for row in rows}) == len(rows) > 200
    stages = [row["stage"] for row in rows]
    assert stages == sorted(stages, key=["controls", "host", "guest"].index)
    text = cupel("rows").stdout
    assert "control.pin.reserved" in text
    assert "Checks on Guest Non-Register State" in text


def test_profiles_are_listed() -> None:
    assert "ice-lake" in cupel("profiles").stdout
    assert json.loads(cupel("profiles", "--json").stdout)[0]["name"] == "server"


def test_diff(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text(dump())
    b.write_text(dump(guest_rip=0x200000, guest_rsp=7))
    assert cupel("diff", str(a), str(a)).exit_code == 0
    result = cupel("diff", str(a), str(b))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"681CH  {'guest_rsp':<32} {'-':>18}  {'0x7':>18}",
        f"681EH  {'guest_rip':<32} {'0x100000':>18}  {'0x200000':>18}",
    ]
    told = json.loads(cupel("diff", "--json", str(a), str(b)).stdout)
    assert told[1] == {"name": "guest_rip", "encoding": 0x681E, "a": 0x100000, "b": 0x200000}
    assert cupel("diff", "-", "-").exit_code == 2
