"""Files of a small VQA v2 set."""

import json

import numpy as np
from PIL import Image

TYPES = [("what color", "other"), ("is the", "yes/no"), ("how many", "number")]


class Files:
    """A small set in the official format: `images` pictures, three questions each."""

    def __init__(self, folder, *, first=1, images=10, name="COCO_val2014_{:012d}.jpg"):
        self.folder = folder
        self.pictures = folder / "images"
        self.pictures.mkdir(parents=True)
        rng = np.random.default_rng(first)
        self.questions, self.annotations = [], []
        for image in range(first, first + images):
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8)).save(self.pictures / name.format(image))
            for at, (question_type, answer_type) in enumerate(TYPES):
                key = {"question_id": image * 10 + at, "image_id": image}
                self.questions.append({**key, "question": f"{question_type} it?"})
                answers = [{"answer": f"a{at}", "answer_confidence": "yes", "answer_id": n + 1} for n in range(10)]
                self.annotations.append(
                    {**key, "question_type": question_type, "answer_type": answer_type,
                     "multiple_choice_answer": f"a{at}", "answers": answers}
                )  # fmt: skip

    def write(self):
        (self.folder / "q.json").write_text(json.dumps({"questions": self.questions}))
        (self.folder / "a.json").write_text(json.dumps({"annotations": self.annotations}))
        return self

    def options(self, **more):
        folder = self.folder
        return {
            "questions": f"{folder}/q.json",
            "annotations": f"{folder}/a.json",
            "images": str(self.pictures),
            **more,
        }
