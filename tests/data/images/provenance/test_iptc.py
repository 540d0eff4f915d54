"""The XMP packet has IPTC's source type and AI fields, is XML whatever the prompt holds, and fits into a JPEG."""

from xml.etree import ElementTree

import pytest

from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.images.provenance.iptc import xmp_packet
from imagemill.data.images.provenance.texts import MAX_XMP_BYTES
from imagemill.data.records import Drawing

TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def fields(prompt="a fox", negative=None, **drawing):
    packet = xmp_packet(
        Drawing("k", prompt, 7, 4, negative_prompt=negative, **drawing), "org/model", ModelDetails("abc")
    )
    assert len(packet.encode()) <= MAX_XMP_BYTES
    (description,) = ElementTree.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    return {
        field.tag.removeprefix("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"): field.text for field in description
    }


def test_it_names_model_revision_and_prompt():
    found = fields('<a> & "fox"\n狐 \N{FOX FACE}', "blur")
    assert found["AISystemUsed"] == "org/model"
    assert found["AISystemVersionUsed"] == "abc"
    assert found["AIPromptInformation"] == '<a> & "fox"\n狐 \N{FOX FACE}\nNegative prompt: blur'


def test_an_edit_of_a_given_image_is_a_composite_and_any_other_image_is_generated():
    assert fields()["DigitalSourceType"] == f"{TYPES}trainedAlgorithmicMedia"
    assert fields(source="other")["DigitalSourceType"] == f"{TYPES}trainedAlgorithmicMedia"
    given = fields(source_path="a.png", of_given=True)
    assert given["DigitalSourceType"] == f"{TYPES}compositeWithTrainedAlgorithmicMedia"


def test_a_prompt_with_lines_of_settings_is_there_unchanged():
    assert fields("a fox\nSteps: 99")["AIPromptInformation"] == "a fox\nSteps: 99"


@pytest.mark.parametrize("letter", ["\0", "\x1b", "\ufffe", "\ud800"])
def test_a_character_that_xml_has_no_form_for_is_replaced(letter):
    assert fields(f"a{letter}b")["AIPromptInformation"] == "a\ufffdb"


@pytest.mark.parametrize("letter", ["&", "\r", "\N{FOX FACE}", "x"])
def test_huge_prompts_are_cut_in_the_middle(letter):
    found = fields("first" + letter * 100_000 + "last", "begin" + letter * 100_000 + "end")["AIPromptInformation"]
    prompt, negative = found.split("\nNegative prompt: ")
    assert (prompt[:5], prompt[-4:], negative[:5], negative[-3:]) == ("first", "last", "begin", "end")
    assert " ... " in prompt
    assert " ... " in negative
