# Two commands to know: `make demo` and `make test`. Each installs what it needs into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := .demo
LMMS := .venv-lmms
LMMS_READY := $(LMMS)/.ready

.PHONY: demo test test-lmms-eval check bench clean

# Renders MIG-Mini, lets a real (small, untrained) vision-language model answer all ten tasks, and
# sets it beside the published rows.
demo: $(READY)
	$(BIN)/migbench data mini $(DEMO)/mini --per-task 10
	$(BIN)/python -m model_adapters.tiny_qwen2_vl $(DEMO)/tiny-qwen2-vl
	$(BIN)/migbench run --model $(DEMO)/tiny-qwen2-vl --max-new-tokens 32 --data $(DEMO)/mini \
		--out $(DEMO)/runs/tiny-qwen2-vl
	$(BIN)/migbench run --model whole-image --data $(DEMO)/mini --out $(DEMO)/runs/whole-image
	$(BIN)/migbench table $(DEMO)/runs/tiny-qwen2-vl $(DEMO)/runs/whole-image --published
	@echo
	@echo "tiny-qwen2-vl is an UNTRAINED checkpoint, built in code a moment ago: its answers are noise,"
	@echo "and figures on MIG-Mini say nothing about MIG-Bench. What was shown is that every part works."

test: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/pytest

# That lmms-eval and migbench score alike, both ways; third parties' warnings are not ours to end on.
test-lmms-eval: $(LMMS_READY)
	HF_HUB_OFFLINE=1 $(LMMS)/bin/pytest -W default tests/in_lmms_eval

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What a request costs its client, and how scoring grows; docs/performance.md has larger runs.
bench: $(READY)
	$(BIN)/python benchmarks/client_cost.py --requests 200 --rounds 2
	@echo
	$(BIN)/python benchmarks/scale.py --sizes 4000,40000

$(READY): pyproject.toml constraints/main.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints/main.txt --editable '.[transformers,dev]'
	touch $@

# lmms-eval has an environment of its own, without what it asks for itself: that would replace torch.
$(LMMS_READY): pyproject.toml constraints/lmms-eval.txt
	$(PYTHON) -m venv $(LMMS)
	$(LMMS)/bin/pip install --quiet --upgrade pip
	$(LMMS)/bin/pip install --quiet --constraint constraints/lmms-eval.txt \
		--editable '.[transformers,lmms-eval]' decord hypothesis pytest pytest-asyncio
	$(LMMS)/bin/pip install --quiet --constraint constraints/lmms-eval.txt --no-deps lmms-eval
	touch $@

clean:
	rm -rf $(VENV) $(LMMS) $(DEMO)
