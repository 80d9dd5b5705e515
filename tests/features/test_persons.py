"""The person in a picture."""

from __future__ import annotations

import numpy as np

from affectus.features.inputs import ImageInput
from affectus.features.persons import PersonInput, body_box, person_crop


def test_a_body_lies_below_its_face_and_is_centred_on_it() -> None:
    left, upper, width, height = body_box((100, 50, 20, 30))
    assert left + width / 2 == 110
    assert width == 80
    assert upper == 35
    assert upper + height == 80 + 5 * 30


def test_a_crop_stays_inside_the_picture() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    assert np.array_equal(person_crop(image, (-5, 10, 15, 40)), image[10:, :10])
    assert person_crop(image, None) is image
    assert person_crop(image, (50, 50, 5, 5)) is image


def test_the_input_shows_what_the_finder_found() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20] = 200
    picture = ImageInput(8)
    upper = PersonInput(picture, find=lambda _: (0.0, 0.0, 40.0, 20.0))
    np.testing.assert_allclose(upper(image), picture(image[:20]))
    np.testing.assert_allclose(PersonInput(picture, find=lambda _: None)(image), picture(image))
    assert upper.shape == (3, 8, 8)
    assert upper.source == "image"
