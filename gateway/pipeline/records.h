// The records of one request, made from what the pipeline knows. Pure. What each field means stands in proto/tollgate/v1/record.proto.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/uuid.h"
#include "gateway/directory/snapshot.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/defaults.h"
#include "inference/types.h"
#include "inference/upstream.h"
#include "policy/verdict.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

// Who a record concerns; the start of every record of a request.
struct RecordIdentity {
  base::RequestId request;
  directory::Place place;
  std::string end_user_hmac;  // Empty: none named.
};

tollgate::v1::Record NewRecord(tollgate::v1::RecordKind kind, const RecordIdentity& who);

// The verdict as it is stored: spans, never text.
tollgate::v1::Verdict ToProto(const policy::Verdict& verdict);
// What policies said by themselves: without the rules that asked others, as far as the record has their outcomes.
tollgate::v1::Verdict WithoutAsked(const tollgate::v1::Verdict& verdict,
                                   const google::protobuf::RepeatedPtrField<tollgate::v1::GuardOutcome>& asked);
// Where a detector said something is, at most kSpansMax; `from`: where what it was asked about begins.
void AddSpans(std::span<const policy::Span> spans, std::int64_t from, tollgate::v1::GuardOutcome& outcome);
policy::Action ActionOf(std::string_view name);  // Allow, if it is no action's.
// Adds what was found in a channel of a reply to what was found elsewhere. `field` empty: the fields as they are.
void MergeVerdict(const tollgate::v1::Verdict& from, int choice, std::string_view field, tollgate::v1::Verdict& into);
tollgate::v1::SamplingInForce ToProto(const inference::SamplingParams& sampling);
// What the caller asked of the output beside its sampling. After `sampling` is set.
void FillOutput(const tollgate::v1::ChatRequest& request, tollgate::v1::RequestBody* body);
void FillDefaults(const DefaultsApplied& applied, tollgate::v1::RequestBody* body);
void FillAdapters(const inference::ModelInfo& model, google::protobuf::RepeatedPtrField<tollgate::v1::AdapterInForce>* into);
// Adds what servers said that a sequence cost.
void AddServerUsage(const inference::ReportedUsage& reported, tollgate::v1::ServerUsage& usage);
// What leaves: the first reply's text as the content's own, the rest as parts.
void FillReleased(const OutputPiece& piece, tollgate::v1::SealedContent& content);

std::string_view Name(Surface surface);  // "grpc", "http"

}  // namespace tollgate::pipeline
