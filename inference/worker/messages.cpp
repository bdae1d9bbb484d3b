// How it works. A pair of functions for each struct. What makes a message takes the struct apart by all of its fields, so that one that is
// added and not carried does not compile.
//
// Tested by tests/inference/worker_messages_test.cpp.
#include "inference/worker/messages.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/error_detail.h"

namespace tollgate::inference {
namespace {

std::span<const std::int32_t> SpanOf(const google::protobuf::RepeatedField<std::int32_t>& field) {
  return {field.data(), static_cast<std::size_t>(field.size())};
}

std::optional<base::Digest> DigestFrom(const std::string& bytes) {
  base::Digest digest{};
  if (bytes.size() != digest.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

void SamplingToMessage(const SamplingParams& sampling, v1::WorkerOpen& message) {
  const auto& [temperature, top_p, top_k, min_p, presence, frequency, repeat, seed] = sampling;
  message.set_temperature(temperature);
  message.set_top_p(top_p);
  message.set_top_k(top_k);
  message.set_min_p(min_p);
  message.set_presence_penalty(presence);
  message.set_frequency_penalty(frequency);
  message.set_repeat_penalty(repeat);
  message.set_seed(seed);
}

SamplingParams SamplingFrom(const v1::WorkerOpen& message) {
  return {.temperature = message.temperature(),
          .top_p = message.top_p(),
          .top_k = message.top_k(),
          .min_p = message.min_p(),
          .presence_penalty = message.presence_penalty(),
          .frequency_penalty = message.frequency_penalty(),
          .repeat_penalty = message.repeat_penalty(),
          .seed = message.seed()};
}

void StrictToMessage(const StrictSetup& strict, v1::WorkerStrict& message) {
  const auto& [engine_build, processor, threads, chunk_tokens, context_tokens, kv] = strict;
  message.set_engine_build(engine_build);
  message.set_processor(processor);
  message.set_threads(threads);
  message.set_chunk_tokens(chunk_tokens);
  message.set_context_tokens(context_tokens);
  message.set_kv(kv);
}

StrictSetup StrictFrom(const v1::WorkerStrict& message) {
  return {.engine_build = message.engine_build(),
          .processor = message.processor(),
          .threads = message.threads(),
          .chunk_tokens = message.chunk_tokens(),
          .context_tokens = message.context_tokens(),
          .kv = message.kv()};
}

}  // namespace

void ToMessage(const absl::Status& status, v1::WorkerStatus& message) {
  message.set_code(static_cast<int>(status.code()));
  message.set_message(base::Message(status));
  const auto detail = base::DetailOf(status);
  if (!detail) return;
  message.set_has_detail(true);
  message.set_reason(detail->reason);
  message.set_param(detail->param);
  message.set_may_retry(detail->may_retry);
  if (detail->retry_after_ms) message.set_retry_after_ms(*detail->retry_after_ms);
}

absl::Status FromMessage(const v1::WorkerStatus& message) {
  if (message.code() == 0) return absl::OkStatus();
  const bool known = message.code() > 0 && message.code() <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  const auto code = known ? static_cast<absl::StatusCode>(message.code()) : absl::StatusCode::kUnknown;
  const absl::Status status = base::MakeStatus(code, message.message());
  if (!message.has_detail()) return status;
  base::ErrorDetail detail;
  detail.reason = message.reason();
  detail.param = message.param();
  detail.may_retry = message.may_retry();
  if (message.has_retry_after_ms()) detail.retry_after_ms = message.retry_after_ms();
  return base::WithDetail(status, detail);
}

void ToMessage(const ModelOptions& model, v1::WorkerStart& message) {
  // The queue, the pace of steps, streams, fairness and upstreams are the gateway's side; where it is, a process knows.
  const auto& [name, engine, file, sha256, chat_template, licence, slots, context_tokens, threads, step_tokens_max, step_target,
               queue_sequences_max, queue_timeout, stream_buffer_bytes, kv, kv_tokens, prefix_cache_bytes, cached_token_share, upstream,
               pooling, strict, device_sampling, in_own_process] = model;
  message.set_name(name);
  message.set_engine(static_cast<int>(engine));
  message.set_file(file);
  if (sha256) message.set_sha256(std::string(base::View(*sha256)));
  message.set_chat_template(chat_template);
  message.set_licence(licence);
  message.set_slots(slots);
  message.set_context_tokens(context_tokens);
  message.set_threads(threads);
  message.set_step_tokens_max(step_tokens_max);
  message.set_kv(static_cast<int>(kv));
  message.set_kv_tokens(kv_tokens);
  message.set_prefix_cache_bytes(prefix_cache_bytes);
  message.set_pooling(static_cast<int>(pooling));
  message.set_strict(strict);
  message.set_device_sampling(static_cast<int>(device_sampling));
}

ModelOptions FromMessage(const v1::WorkerStart& message) {
  ModelOptions model;
  model.name = message.name();
  model.engine = static_cast<EngineKind>(message.engine());
  model.file = message.file();
  model.sha256 = DigestFrom(message.sha256());
  model.chat_template = message.chat_template();
  model.licence = message.licence();
  model.slots = message.slots();
  model.context_tokens = message.context_tokens();
  model.threads = message.threads();
  model.step_tokens_max = message.step_tokens_max();
  model.kv = static_cast<KvType>(message.kv());
  model.kv_tokens = message.kv_tokens();
  model.prefix_cache_bytes = message.prefix_cache_bytes();
  model.pooling = static_cast<Pooling>(message.pooling());
  model.strict = message.strict();
  model.device_sampling = static_cast<DeviceSampling>(message.device_sampling());
  return model;
}

void ToMessage(const ModelInfo& info, v1::WorkerStarted& message) {
  // A process knows nothing of servers, nor so of what their models hide.
  const auto& [name, base, adapters, engine, sha256, licence, architecture, chat_template, engine_build, context_tokens, vocab_tokens,
               size_bytes, memory_bytes, device_memory_bytes, slots, kv_tokens, grammars, logprobs, resumes, rewinds, tools, hides_calls,
               thinks, opens_thinking, pooling, dimensions, strict] = info;
  message.set_engine(engine);
  message.set_sha256(std::string(base::View(sha256)));
  message.set_architecture(architecture);
  message.set_chat_template(chat_template);
  message.set_engine_build(engine_build);
  message.set_context_tokens(context_tokens);
  message.set_vocab_tokens(vocab_tokens);
  message.set_size_bytes(size_bytes);
  message.set_memory_bytes(memory_bytes);
  message.set_device_memory_bytes(device_memory_bytes);
  message.set_slots(slots);
  message.set_kv_tokens(kv_tokens);
  message.set_grammars(grammars);
  message.set_logprobs(logprobs);
  message.set_resumes(resumes);
  message.set_tools(static_cast<int>(tools));
  message.set_thinks(thinks);
  message.set_opens_thinking(opens_thinking);
  message.set_pooling(static_cast<int>(pooling));
  message.set_dimensions(dimensions);
  message.set_rewinds(rewinds);
  if (strict) StrictToMessage(*strict, *message.mutable_strict());
}

ModelInfo FromMessage(const v1::WorkerStarted& message, const ModelOptions& model) {
  ModelInfo info;
  info.name = model.name;
  info.licence = model.licence;
  info.engine = message.engine();
  info.sha256 = DigestFrom(message.sha256()).value_or(base::Digest{});
  info.architecture = message.architecture();
  info.chat_template = message.chat_template();
  info.engine_build = message.engine_build();
  info.context_tokens = message.context_tokens();
  info.vocab_tokens = message.vocab_tokens();
  info.size_bytes = message.size_bytes();
  info.memory_bytes = message.memory_bytes();
  info.device_memory_bytes = message.device_memory_bytes();
  info.slots = message.slots();
  info.kv_tokens = message.kv_tokens();
  info.grammars = message.grammars();
  info.logprobs = message.logprobs();
  info.resumes = message.resumes();
  info.tools = static_cast<ToolStyle>(message.tools());
  info.thinks = message.thinks();
  info.opens_thinking = message.opens_thinking();
  info.pooling = static_cast<Pooling>(message.pooling());
  info.dimensions = message.dimensions();
  info.rewinds = message.rewinds();
  if (message.has_strict()) info.strict = StrictFrom(message.strict());
  return info;
}

void ToMessage(const EngineSequence& sequence, v1::WorkerOpen& message) {
  // A process is given inputs by Embed: where they end, and their texts, stay here. Grammars it reads itself.
  const auto& [prompt_tokens, sampling, tenant, published_tokens, published_by, logit_bias, grammar, read, banned_first, logprobs, band,
               input_ends, texts, adapters] = sequence;
  message.mutable_prompt_tokens()->Assign(prompt_tokens.begin(), prompt_tokens.end());
  SamplingToMessage(sampling, message);
  message.set_tenant(tenant.Bytes());
  message.set_published_tokens(published_tokens);
  message.set_published_by(published_by.Bytes());
  for (const LogitBias& bias : logit_bias) {
    v1::WorkerBias& added = *message.add_logit_bias();
    added.set_token(bias.token);
    added.set_bias(bias.bias);
  }
  message.set_grammar(std::string(grammar));
  message.set_logprobs(logprobs);
  message.set_band(band);
  message.mutable_banned_first()->Assign(banned_first.begin(), banned_first.end());
  message.mutable_adapters()->Assign(adapters.begin(), adapters.end());
}

absl::StatusOr<EngineSequence> FromMessage(const v1::WorkerOpen& message, std::vector<LogitBias>& biases) {
  TG_ASSIGN(const base::Uuid tenant, base::Uuid::FromBytes(message.tenant()));
  TG_ASSIGN(const base::Uuid published_by, base::Uuid::FromBytes(message.published_by()));
  biases.clear();
  for (const v1::WorkerBias& bias : message.logit_bias()) biases.push_back({bias.token(), bias.bias()});
  return EngineSequence{.prompt_tokens = SpanOf(message.prompt_tokens()),
                        .sampling = SamplingFrom(message),
                        .tenant = base::TeamId(tenant),
                        .published_tokens = message.published_tokens(),
                        .published_by = base::OrgId(published_by),
                        .logit_bias = biases,
                        .grammar = message.grammar(),
                        .banned_first = SpanOf(message.banned_first()),
                        .logprobs = message.logprobs(),
                        .band = message.band(),
                        .adapters = SpanOf(message.adapters())};
}

void ToMessage(const AdapterOptions& adapter, v1::WorkerAddAdapter& message) {
  const auto& [name, base, file, sha256, scale] = adapter;
  message.set_name(name);
  message.set_base(base);
  message.set_file(file);
  if (sha256) message.set_sha256(std::string(base::View(*sha256)));
  message.set_scale(scale);
}

AdapterOptions FromMessage(const v1::WorkerAddAdapter& message) {
  return {.name = message.name(),
          .base = message.base(),
          .file = message.file(),
          .sha256 = DigestFrom(message.sha256()),
          .scale = message.scale()};
}

void ToMessage(const EngineWork& work, v1::WorkerWork& message) {
  const auto& [slot, prompt_tokens, output_max] = work;
  message.set_slot(slot);
  message.set_prompt_tokens(prompt_tokens);
  message.set_output_max(output_max);
}

EngineWork FromMessage(const v1::WorkerWork& message) { return {message.slot(), message.prompt_tokens(), message.output_max()}; }

void ToMessage(const EngineOutput& output, v1::WorkerOutput& message) {
  const auto& [slot, token, bytes, ends, logprob, top, vectors, status] = output;
  message.set_slot(slot);
  if (!status.ok()) {
    ToMessage(status, *message.mutable_status());
    return;
  }
  message.set_token(token);
  message.set_bytes(std::string(bytes));
  message.set_ends(ends);
  message.set_logprob(logprob);
  for (const EngineAlternative& other : top) {
    v1::WorkerAlternative& added = *message.add_top();
    added.set_token(other.token);
    added.set_bytes(std::string(other.bytes));
    added.set_logprob(other.logprob);
  }
}

EngineOutput FromMessage(const v1::WorkerOutput& message, std::vector<EngineAlternative>& top) {
  top.clear();
  for (const v1::WorkerAlternative& other : message.top()) top.push_back({other.token(), other.bytes(), other.logprob()});
  EngineOutput output;
  output.slot = message.slot();
  output.token = message.token();
  output.bytes = message.bytes();
  output.ends = message.ends();
  output.logprob = message.logprob();
  output.top = top;
  if (message.has_status()) output.status = FromMessage(message.status());
  return output;
}

}  // namespace tollgate::inference
