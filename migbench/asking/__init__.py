"""From instances to questions, and from questions to turns."""
