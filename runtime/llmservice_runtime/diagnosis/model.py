"""Rules for the model: its files, configuration, quantization and source."""

from __future__ import annotations

from llmservice_contract import causes
from llmservice_contract.engine_settings import SPECULATIVE_MODEL
from llmservice_runtime.diagnosis.rule import Advice, Found, Rule

SOURCE = "spec.model.source"
CREDENTIALS = "spec.model.credentialsRef"
COMPLETE = Advice(
    "Put all files of the model where spec.model.source points to: an interrupted download or copy leaves such ones, "
    "and files of a few hundred bytes are git-lfs pointers.",
    SOURCE,
)


def _longest(found: Found) -> Advice:
    longest = int(max(found.number("derived"), found.number("other")))
    return Advice(
        f"Set spec.model.maxContextLength to {longest} or less, or leave it out.", "spec.model.maxContextLength"
    )


def _readable(found: Found) -> Advice:
    path = found.groups["path"] or found.groups["other"]
    draft = found.environment.get(SPECULATIVE_MODEL.name)
    field = "spec.engine.speculative.model" if draft and draft.removeprefix("hf://") == path else SOURCE
    return Advice(f"Point {field} to a directory or repository with a config.json that is valid JSON.", field)


def _enough_tokens(found: Found) -> Advice:
    least = int(found.number("least"))
    return Advice(f"Set spec.engine.maxNumBatchedTokens to {least} or more.", "spec.engine.maxNumBatchedTokens")


RULES = (
    Rule(
        causes.CONTEXT_TOO_LONG,
        r"User-specified max_model_len \((?P<length>\d+)\) is greater than the derived max_model_len "
        r"\(\w+=(?P<derived>\d+)(?:\.\d+)? or model_max_length=(?P<other>\w+)",
        "A context of {length} tokens is configured, but the model supports {derived}.",
        _longest,
    ),
    Rule(
        causes.QUANTIZATION_MISMATCH,
        r"Quantization method specified in the model config \((?P<stored>\S+)\) does not match the quantization method "
        r"specified in the `quantization` argument \((?P<asked>\S+)\)",
        "The checkpoint is quantized by {stored}, but {asked} is configured.",
        Advice("Set spec.quantization.method to auto.", "spec.quantization.method"),
    ),
    Rule(
        causes.QUANTIZATION_UNKNOWN,
        r"Unknown quantization method: (?P<method>[^\s.]+)",
        "The checkpoint is quantized by {method}, which vLLM doesn't know.",
        Advice("Choose another checkpoint of the model, or a newer image of the runtime.", SOURCE),
    ),
    Rule(
        causes.QUANTIZATION_UNKNOWN,
        r"The quantization method (?P<method>\S+) is (?:deprecated|currently not supported|not supported (?:in|on"
        r"|for) (?!the current GPU)\S+)|\b(?P<other>\w{1,40}) quantization is currently not supported",
        "The checkpoint is quantized by {method}{other}, which vLLM doesn't support on this kind of device.",
        Advice("Choose another checkpoint of the model.", SOURCE),
    ),
    Rule(
        causes.ARCHITECTURE_UNKNOWN,
        r"Model architectures? \[?'?(?P<names>[\w', ]+?)'?\]? (?:are not supported for now|failed to be inspected"
        r"|was supported in vLLM until|is not supported in-tree anymore)",
        "vLLM of this image doesn't know the model's architecture {names}.",
        Advice("Use an image of the runtime with a vLLM that knows it, or another model.", SOURCE),
    ),
    Rule(
        causes.BAD_CONFIG,
        r"No model architectures are specified",
        "config.json of the model names no architectures, and its model_type is none that vLLM knows one for.",
        Advice(
            "Name them in spec.engine.hfOverrides (architectures: a list, such as of LlamaForCausalLM), or correct "
            "config.json.",
            "spec.engine.hfOverrides",
        ),
    ),
    Rule(
        causes.ARCHITECTURE_UNKNOWN,
        r"The checkpoint you are trying to load has model type `(?P<name>[^`]+)` but Transformers does not recognize",
        "vLLM of this image doesn't know the model's type {name}.",
        Advice("Use an image of the runtime with a vLLM that knows it, or another model.", SOURCE),
    ),
    Rule(
        causes.REMOTE_CODE,
        r"Failed to load the (?:model config|tokenizer)\. If the .{1,200}trust_remote_code"
        r"|contains custom code which must be executed|requires you to execute (?:the \w+ file|custom code)",
        "The model brings Python code of its own (auto_map in its config.json), which is never executed here.",
        Advice("Choose a model whose architecture vLLM itself knows, or a conversion of this one.", SOURCE),
    ),
    Rule(
        causes.NO_WEIGHTS,
        r"Cannot find any (?:safetensors )?model weights with `(?P<path>[^`]+)`",
        "{path} holds no weights that vLLM reads.",
        Advice("Point spec.model.source to the directory or repository that holds the *.safetensors files.", SOURCE),
    ),
    Rule(
        causes.BROKEN_WEIGHTS,
        r"(?:SafetensorError|Error while deserializing header|Corrupted (?:Header|File|Offset)"
        r"|Streamer failed to read header \w+ \(likely truncated file\)): *(?P<what>.+)",
        "A file of weights is broken or not complete: {what}.",
        COMPLETE,
    ),
    Rule(
        causes.BROKEN_WEIGHTS,
        r"There is no module or parameter named '(?P<name>[^']+)' in (?P<part>\w+)",
        "The weights don't go with config.json: {part} has no place for {name}.",
        Advice("Take config.json and the weights from the same checkpoint.", SOURCE),
        "this vLLM names the weights of that architecture otherwise",
    ),
    Rule(
        causes.BROKEN_WEIGHTS,
        r"Following weights were not initialized from checkpoint: \{'(?P<name>[^']+)'",
        "The weights are not complete: {name} and perhaps more are missing.",
        COMPLETE,
        "config.json requires more than the model has",
    ),
    Rule(
        causes.BAD_CONFIG,
        r"It looks like the config file at '?(?P<path>[^']+?)'? is not a valid JSON file"
        r"|Invalid repository ID or local directory specified: '(?P<other>[^']+)'",
        "The model's configuration can't be read: {path}{other}.",
        _readable,
    ),
    Rule(
        causes.BAD_CONFIG,
        r"Unrecognized model in \S+\. (?P<what>Should have a `model_type` key in its config\.json)"
        r"|(?P<which>Validation error for field '[^']+')|(?P<quantization>Cannot find any of \[.{1,80}\] in the "
        r"model's quantization config)",
        "The model's config.json lacks something that vLLM needs, or has it wrong: {what}{which}{quantization}.",
        Advice("Take config.json as the model's makers publish it.", SOURCE),
    ),
    Rule(
        causes.MODEL_UNREADABLE,
        r"Repo id must be in the form .{1,60}: '(?P<path>[^']+)'",
        "There is no model at {path}.",
        Advice("Point spec.model.source to where the model is.", SOURCE),
    ),
    Rule(
        causes.NO_TOKENIZER,
        r"Can't load tokenizer for '(?P<path>[^']+)'|Couldn't instantiate the backend tokenizer"
        r"|Unable to load vocabulary from file",
        "The model has no tokenizer that can be read.",
        Advice("Put tokenizer.json and tokenizer_config.json beside the weights in spec.model.source.", SOURCE),
    ),
    Rule(
        causes.SPECULATION_UNSUPPORTED,
        r"(?P<what>(?:Target and draft model should have the same vocabulary size"
        r"|Speculative Decoding with draft models or parallel drafting|Speculative decoding with .{1,60} requires"
        r"|Unsupported speculative method|num_speculative_tokens:\d+ must be divisible by).{0,200})",
        "Speculative decoding doesn't work like this: {what}",
        Advice(
            "Choose another draft in spec.engine.speculative.model, or set spec.engine.speculative.method to ngram, "
            "which needs none.",
            "spec.engine.speculative.model",
        ),
    ),
    Rule(
        causes.BATCH_TOO_SMALL,
        r"max_num_batched_tokens \((?P<tokens>\d+)\) (?:is smaller than max_model_len"
        r"|must be greater than or equal to max_num_seqs) \((?P<least>\d+)\)",
        "One step takes {tokens} tokens, and has to take {least} at least.",
        _enough_tokens,
    ),
)
