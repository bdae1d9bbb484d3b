// Tools on their way in: checked, laid before policy with the rest of the prompt, and handed to the model as policy left them. Pure;
// thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/pipeline/prompt.h"
#include "inference/output_parser.h"
#include "inference/schema_part.h"
#include "inference/types.h"
#include "policy/verdict.h"
#include "tollgate/v1/inference.pb.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

using Tools = google::protobuf::RepeatedPtrField<tollgate::v1::Tool>;

// As prompt.h's Validate: tools, their choice, calls in messages, and the messages that answer them.
absl::Status ValidateTools(const tollgate::v1::ChatRequest& request);
absl::Status ValidateTools(const Tools& tools);
// As prompt.h's ValidateFor: whether the model has a place for tools and thoughts, and can be held to calls where the request wants that.
absl::Status ValidateToolsFor(const tollgate::v1::ChatRequest& request, const inference::ModelInfo& model);
// OutputGrammar of the request as it came. INVALID_ARGUMENT, by the field's name: its schemas, or its grammar, are such that no output can
// be held to them. Milliseconds for large ones. REQUIRES: validated.
absl::StatusOr<inference::SchemaGrammar> GrammarAsked(const tollgate::v1::ChatRequest& request, const inference::ModelInfo& model);

// Whether the output is a call, or calls, and nothing else: so asked for, or a function named.
bool MustCall(const tollgate::v1::ChatRequest& request);
// Whether one call at most is wanted: so asked for, or a function named.
bool OneCall(const tollgate::v1::ChatRequest& request);

// All that policy judges: the messages; then, aside, each call of theirs, an assistant's message with the function's name, its arguments
// cut by CutJson; then each tool, a system message with its name, its description and its parameters cut alike; then the second reading of
// each result that has one (policy/json_parts.h); then the schema of the output's form, a system message cut alike. A result is known by
// the call that it names; without that, its tool is not known.
std::vector<policy::Message> PolicyPrompt(const tollgate::v1::ChatRequest& request);

// What the model is given, of PolicyPrompt as policy left it.
std::vector<inference::Turn> TurnsOf(const tollgate::v1::ChatRequest& request, std::span<const policy::Message> used);
// The same for the record.
void FillUsed(const tollgate::v1::ChatRequest& request, std::span<const policy::Message> used, tollgate::v1::SealedContent& content);

// The output's form, its schema as policy left it in `used`. INVALID_ARGUMENT (POLICY_NOT_APPLICABLE): no output can be held to that.
// REQUIRES: validated.
absl::StatusOr<tollgate::v1::OutputForm> FormUsed(const tollgate::v1::ChatRequest& request, std::span<const policy::Message> used);

// Text of messages, calls, tools and the output's schema.
std::int64_t BytesOf(const tollgate::v1::ChatRequest& request);

// How the output is to be read. REQUIRES: validated.
inference::OutputSyntax SyntaxOf(const tollgate::v1::ChatRequest& request, const inference::ModelInfo& model);
// The grammar that the output is held to: of calls that are forced, of calls or `form` (FormUsed's) where it may be either, or of its
// schema; tools as policy left them in `used`. Its text is empty where nothing of these is asked for. INVALID_ARGUMENT
// (POLICY_NOT_APPLICABLE): policy changed the name of a tool that may be called, or left a schema that no call can be held to. REQUIRES:
// validated.
absl::StatusOr<inference::SchemaGrammar> OutputGrammar(const tollgate::v1::ChatRequest& request, std::span<const policy::Message> used,
                                                       const tollgate::v1::OutputForm& form, const inference::ModelInfo& model);

}  // namespace tollgate::pipeline
