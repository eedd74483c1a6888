import os
from pathlib import Path

import pytest

from isp_sim.cameras import profile
from isp_sim.cameras.document import to_yaml
from isp_sim.cameras.loaders import LoaderFault, read

DATA = os.environ.get("ISP_SIM_DATA")
XML = """<?xml version="1.0"?>
<!DOCTYPE Cameras [<!ELEMENT Cameras ANY> %s]>
<Cameras>
  <Camera make="A" model="One">
    <CFA width="2" height="2">
      <Color x="0" y="0">GREEN</Color><Color x="1" y="0">RED</Color>
      <Color x="0" y="1">BLUE</Color><Color x="1" y="1">GREEN</Color>
    </CFA>
    <Sensor black="64" white="1023"/>
    <ColorMatrices><ColorMatrix planes="3">
      <ColorMatrixRow plane="0">10000 -3000 -2000</ColorMatrixRow>
      <ColorMatrixRow plane="1">-5000 14000 1000</ColorMatrixRow>
      <ColorMatrixRow plane="2">-1000 2000 6000</ColorMatrixRow>
    </ColorMatrix></ColorMatrices>
  </Camera>
  <Camera make="A" model="Two">%s</Camera>
</Cameras>
"""


def test_cfa_levels_and_matrix(tmp_path):
    path = tmp_path / "cameras.xml"
    path.write_text(XML % ("", ""))
    found = profile.parse(to_yaml(read("rawspeed", path, "A One")).encode(), "x")
    assert (found.sensor.cfa, found.sensor.black_level, found.sensor.white_level) == ("GRBG", (64,), 1023)
    assert found.state.constants.xyz_to_camera[0] == ((1.0, -0.3, -0.2), (-0.5, 1.4, 0.1), (-0.1, 0.2, 0.6))
    assert "CC-BY-SA" in found.licence
    with pytest.raises(LoaderFault, match="nothing"):
        read("rawspeed", path, "A Two")


BOMB = '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'


@pytest.mark.parametrize(
    "entity", [BOMB, '<!ENTITY x SYSTEM "file:///etc/passwd">', '<!ENTITY % y SYSTEM "http://a.b/c">']
)
def test_entities_are_refused(tmp_path, entity):
    path = tmp_path / "cameras.xml"
    path.write_text(XML.replace("%s", entity, 1).replace("%s", "&x;"))
    with pytest.raises(LoaderFault, match="entities"):
        read("rawspeed", path, "A One")


@pytest.mark.parametrize("text", ["", "<a>", "nothing", "<Cameras/>", '<!DOCTYPE a SYSTEM "http://a.b/c"><a>&x;</a>'])
def test_other_files(tmp_path, text):
    path = tmp_path / "cameras.xml"
    path.write_text(text)
    with pytest.raises(LoaderFault):
        read("rawspeed", path)


@pytest.mark.skipif(not DATA, reason="needs ISP_SIM_DATA, a folder of test data")
def test_the_real_table():
    found = list(Path(str(DATA)).rglob("rawspeed_cameras.xml"))
    if not found:
        pytest.skip("the test data hold no rawspeed_cameras.xml")
    nikon = read("rawspeed", found[0], "NIKON CORPORATION NIKON D850")
    assert nikon["cfa"] == "RGGB"
    profile.parse(to_yaml(nikon).encode(), "x")
    fuji = read("rawspeed", found[0], "FUJIFILM X-T2")
    assert len(fuji["cfa"].replace("/", "")) == 36
