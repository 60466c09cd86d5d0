import pytest
from small_models import tool_main


def test_the_tool_says_what_it_made(bundle):
    assert (bundle / "manifest.json").is_file()
    assert (bundle / "config.yaml").read_text().startswith("export:")


def test_an_error_is_one_paragraph_and_status_2(tmp_path, capsys):
    assert tool_main([str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("export_onnx: ")
    assert told.count("\n") == 1
    assert "config.yaml" in told


def test_an_impossible_opset_is_refused_before_anything_is_read(tmp_path, capsys):
    assert tool_main([str(tmp_path), "--opset", "7"]) == 2
    assert "opset 7" in capsys.readouterr().err


def test_help_needs_no_torch(capsys):
    with pytest.raises(SystemExit) as stopped:
        tool_main(["--help"])
    assert stopped.value.code == 0
    assert "RUN_DIR" in capsys.readouterr().out
