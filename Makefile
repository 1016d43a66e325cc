# Two commands to know: `make demo` and `make test`. Each installs what it needs into .venv.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := .demo
LMMS := .venv-lmms
LMMS_READY := $(LMMS)/.ready
VLLM := .venv-vllm
VLLM_READY := $(VLLM)/.ready
DOCS := .venv-docs
DOCS_READY := $(DOCS)/.ready
TRAINING := .venv-training
TRAINING_READY := $(TRAINING)/.ready

.PHONY: demo docs screenshots test test-crash test-deep test-vllm test-lmms-eval test-training check bench bench-lmms bench-vllm clean

# Renders MIG-Mini, lets the packaged miniature answer all ten tasks, image by image and all at
# once, and sets it beside the published rows.
demo: $(READY)
	$(BIN)/migbench data mini $(DEMO)/mini --per-task 10
	$(BIN)/migbench run --model migician-mini --data $(DEMO)/mini --out $(DEMO)/runs/polling
	$(BIN)/migbench run --model migician-mini --evaluator all-at-once --data $(DEMO)/mini \
		--out $(DEMO)/runs/all-at-once
	$(BIN)/migbench run --model whole-image --data $(DEMO)/mini --out $(DEMO)/runs/whole-image
	$(BIN)/migbench table $(DEMO)/runs/polling $(DEMO)/runs/all-at-once $(DEMO)/runs/whole-image \
		--published
	@echo
	@echo "migician-mini is a trained model of 4.5 million parameters that knows drawn scenes and nothing else:"
	@echo "figures on MIG-Mini say nothing about MIG-Bench. What was shown is that every part works."

# What `make demo` leaves behind, as a page, and that page as docs/images/*.png; needs chromium.
screenshots: demo
	$(BIN)/migbench report $(DEMO)/runs/polling $(DEMO)/runs/all-at-once --out $(DEMO)/report.html
	$(BIN)/python docs/screenshots.py $(DEMO)/report.html docs/images

# The documentation as a site in .site/, every link checked.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet

# In random order (repeat one by `make test SEED=...`), a core each for two halves of the suite.
test: $(READY)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile $(SEED:%=--randomly-seed=%)

# Laws with forty times the examples, other ones every time (ten minutes); what fails says how to repeat it.
test-deep: $(READY)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile -m hypothesis --hypothesis-profile=deep

# Ends commands at every place where they change a file: killed, on a full disk, on a failing one. Some
# minutes; SECURITY.md has the figures.
test-crash: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/pytest -q -n 2 --all-crashes tests/runs/test_crashes.py tests/runs/test_power_cuts.py

# The vllm adapter and a vLLM server, on a CPU, in an environment of their own (constraints/vllm.txt).
test-vllm: $(VLLM_READY)
	HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 $(VLLM)/bin/pytest -c tests/in_vllm/pytest.ini tests/in_vllm

# That lmms-eval and migbench score alike, both ways; third parties' warnings are not ours to end on.
test-lmms-eval: $(LMMS_READY)
	HF_HUB_OFFLINE=1 $(LMMS)/bin/pytest -W default tests/in_lmms_eval

# The distribution in training/, in an environment of its own (constraints/training.txt). A core each for two halves.
test-training: $(TRAINING_READY)
	cd training && HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 OMP_NUM_THREADS=1 \
		../$(TRAINING)/bin/pytest -n $(JOBS) --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

# What a request costs its client, how scoring grows, how often images are computed, and how fast
# engines are, at modest sizes; benchmarks/performance.md has larger runs.
bench: $(READY)
	$(BIN)/python benchmarks/client_cost.py --requests 200 --rounds 2
	@echo
	$(BIN)/python benchmarks/scale.py --sizes 4000,40000
	@echo
	$(BIN)/migbench data mini $(DEMO)/mini --per-task 10
	$(BIN)/python benchmarks/prefill.py $(DEMO)/mini/MIG_mini.json
	@echo
	$(BIN)/python benchmarks/engine.py --dtype float32

# The same with lmms-eval among the clients, and with vLLM among the engines; some minutes each.
bench-lmms: $(READY) $(LMMS_READY)
	$(BIN)/python benchmarks/client_cost.py --requests 200 --rounds 2 --lmms-python $(LMMS)/bin/python

bench-vllm: $(READY) $(VLLM_READY)
	$(BIN)/migbench data mini $(DEMO)/mini --per-task 10
	VLLM_CPU_KVCACHE_SPACE=1 $(BIN)/python benchmarks/prefill.py $(DEMO)/mini/MIG_mini.json \
		--vllm-python $(VLLM)/bin/python
	@echo
	VLLM_CPU_KVCACHE_SPACE=1 $(BIN)/python benchmarks/engine.py --dtype float32 \
		--vllm-python $(VLLM)/bin/python --engine-args enforce_eager=true

$(READY): pyproject.toml constraints/main.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints/main.txt --editable '.[transformers,parquet,report,dev]'
	touch $@

$(DOCS_READY): pyproject.toml constraints/docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --upgrade pip
	$(DOCS)/bin/pip install --quiet --constraint constraints/docs.txt --editable '.[docs]'
	touch $@

# lmms-eval has an environment of its own, without what it asks for itself: that would replace torch.
$(LMMS_READY): pyproject.toml constraints/lmms-eval.txt
	$(PYTHON) -m venv $(LMMS)
	$(LMMS)/bin/pip install --quiet --upgrade pip
	$(LMMS)/bin/pip install --quiet --constraint constraints/lmms-eval.txt \
		--editable '.[transformers,lmms-eval]' decord hypothesis pytest pytest-asyncio
	$(LMMS)/bin/pip install --quiet --constraint constraints/lmms-eval.txt --no-deps lmms-eval
	touch $@

# The .pth file has every interpreter of the environment import the hook that it names.
$(VLLM_READY): pyproject.toml constraints/vllm.txt tests/in_vllm/environment/torchvision_on_cpu.py
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --upgrade pip
	$(VLLM)/bin/pip install --quiet --no-deps --requirement constraints/vllm.txt
	$(VLLM)/bin/pip install --quiet --no-deps --editable .
	site=$$($(VLLM)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") && \
		cp tests/in_vllm/environment/torchvision_on_cpu.py "$$site" && \
		echo "import torchvision_on_cpu" > "$$site/torchvision_on_cpu.pth"
	touch $@

# LLaMA-Factory comes without what it asks for itself: gradio, torchaudio and others are not needed, and
# the latter does not load beside a CPU build of torch. Two stand-ins are copied for the tests.
$(TRAINING_READY): pyproject.toml training/pyproject.toml constraints/training.txt \
		training/tests/environment/torchaudio.py tests/in_vllm/environment/torchvision_on_cpu.py
	$(PYTHON) -m venv $(TRAINING)
	$(TRAINING)/bin/pip install --quiet --upgrade pip
	$(TRAINING)/bin/pip install --quiet --no-deps --requirement constraints/training.txt
	$(TRAINING)/bin/pip install --quiet --no-deps --editable . --editable training
	site=$$($(TRAINING)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") && \
		cp training/tests/environment/torchaudio.py tests/in_vllm/environment/torchvision_on_cpu.py "$$site" && \
		echo "import torchvision_on_cpu" > "$$site/torchvision_on_cpu.pth"
	touch $@

clean:
	rm -rf $(VENV) $(LMMS) $(VLLM) $(TRAINING) $(DOCS) $(DEMO) .site
