"""A folder of images with captions or metadata is read as rows, whose ids are the images' paths."""

import codecs

import pytest
from PIL import Image

from imagemill.data.errors import InputError
from imagemill.data.prompts.field_names import RoleNames
from imagemill.data.prompts.reader import read_records

ROLES = RoleNames(images="images")


@pytest.fixture
def folder(tmp_path):
    """An image folder as kohya's scripts have it: folders with a number of repeats, and a caption beside an image."""
    folder = tmp_path / "train"
    for name, colour in (("10_cat/red.png", "red"), ("10_cat/blue 2.JPG", "blue"), ("5_dog/red.png", "green")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), colour).save(folder / name)
    (folder / "10_cat" / "red.txt").write_text("make it blue\n")
    (folder / "5_dog" / "red.caption").write_bytes(codecs.BOM_UTF16_LE + "make it café".encode("utf-16-le"))
    return folder


def read(folder, roles=ROLES):
    return list(read_records(str(folder), roles=roles))


CAPTIONED = [
    {"id": "5_dog/red", "images": "5_dog/red.png", "prompt": "make it café"},
    {"id": "10_cat/blue 2", "images": "10_cat/blue 2.JPG"},
    {"id": "10_cat/red", "images": "10_cat/red.png", "prompt": "make it blue"},
]


def test_images_with_captions_are_rows_whose_id_is_the_path(folder):
    assert [record.fields for record in read(folder)] == CAPTIONED


def test_a_recipe_that_generates_takes_the_captions_alone(folder):
    roles = RoleNames(prompt="text", id="key")
    assert read(folder, roles)[0].fields == {"key": "5_dog/red", "text": "make it café"}


def test_images_of_a_folder_are_edited(load, folder):
    found = load(None, "train", edit={})
    assert [(row.id, row.prompt, row.edit_prompts) for row in found.rows] == [
        ("5_dog/red", "make it café", ("make it café",)),
        ("10_cat/red", "make it blue", ("make it blue",)),
    ]
    assert [row.image for row in found.rows] == [str(folder / "5_dog/red.png"), str(folder / "10_cat/red.png")]
    assert found.faults[0].id == "10_cat/blue 2"
    everything = load(None, "train", edit={"instructions": ["make it red"]})
    assert len(everything.rows) == 3


def test_captions_alone_are_prompts(load, folder):
    assert [row.prompt for row in load(None, "train").rows] == ["make it café", "make it blue"]


def test_a_caption_that_cannot_be_read_or_has_no_image_is_set_aside(folder):
    (folder / "10_cat" / "blue 2.txt").write_bytes(b"caf\xe9")
    (folder / "10_cat" / "gone.txt").write_text("no image")
    (folder / "5_dog" / "red.txt").write_bytes(b"x" * (2**20 + 1))
    found = read(folder)
    assert [record.line for record in found] == [1, 2, 3, 4]
    assert [record.fault for record in found] == [
        "5_dog/red.txt: the caption has over 1 MiB",
        "10_cat/blue 2.txt: not UTF-8 (byte 4): save the file in UTF-8",
        None,
        "there is no image beside '10_cat/gone.txt'",
    ]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_metadata_names_the_images_of_its_folder(folder, name):
    lines = {
        "metadata.jsonl": '{"file_name": "red.png", "text": "a cat", "id": "own"}\n{"file_name": "blue 2.JPG"}\n',
        "metadata.csv": "file_name,text,id\nred.png,a cat,own\nblue 2.JPG\n",
    }
    (folder / "10_cat" / name).write_text(lines[name])
    assert [record.fields for record in read(folder)] == [
        {"id": "own", "images": "10_cat/red.png", "text": "a cat"},
        {"id": "10_cat/blue 2", "images": "10_cat/blue 2.JPG"},
    ]


@pytest.mark.parametrize("name", ["../5_dog/red.png", "gone.png", "/etc/passwd", "../../secret.png", "", "red.txt"])
def test_metadata_names_no_file_outside_of_its_folder(folder, name):
    Image.new("RGB", (32, 32)).save(folder.parent / "secret.png")
    (folder / "10_cat" / "metadata.jsonl").write_text(
        f'{{"file_name": "red.png", "text": "a"}}\n{{"file_name": "{name}", "text": "b"}}\n'
    )
    found = read(folder)
    assert [record.fields is None for record in found] == [False, True]
    assert found[1].fault == f"10_cat/metadata.jsonl, line 2: {name!r} (file_name) is no image of the folder"


def test_several_metadata_files_have_lines_of_their_own(folder):
    for part in ("10_cat", "5_dog"):
        (folder / part / "metadata.jsonl").write_text('{"file_name": "red.png", "text": "a"}\nnope\n')
    assert [record.line for record in read(folder)] == [1, 2, 3, 4]


def test_images_beside_prompts_files_are_no_image_folder(folder):
    (folder / "rows.jsonl").write_text('{"prompt": "a", "images": "10_cat/red.png"}\n')
    for caption in ("10_cat/red.txt", "5_dog/red.caption"):
        (folder / caption).unlink()
    assert [record.fields["images"] for record in read(folder)] == ["10_cat/red.png"]
    (folder / "more.csv").write_text("prompt\nb\n")
    with pytest.raises(InputError, match="several formats"):
        read(folder)


def test_text_files_that_are_no_captions_are_prompts_files(folder):
    for caption in ("10_cat/red.txt", "5_dog/red.caption"):
        (folder / caption).unlink()
    (folder / "prompts.txt").write_text("a\nb\n")
    assert [record.fields for record in read(folder)] == [{"prompt": "a"}, {"prompt": "b"}]


def test_a_folder_of_captions_without_images_is_a_folder_of_prompts(folder):
    for image in [*folder.rglob("*.png"), *folder.rglob("*.JPG")]:
        image.unlink()
    assert [record.fields for record in read(folder / "10_cat")] == [{"prompt": "make it blue"}]


@pytest.mark.parametrize("name", ["10_cat/link.png", "10_cat/blue 2.txt"])
def test_a_link_out_of_the_folder_is_refused(folder, name):
    (folder.parent / "secret").write_text("secret")
    (folder / name).symlink_to(folder.parent / "secret")
    with pytest.raises(InputError, match="is a link that leads out of the prompts folder"):
        read(folder)
