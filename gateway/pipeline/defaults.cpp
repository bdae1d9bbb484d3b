// Values: the deepest scope that sets one wins. Caps: all hold. System prompts: all stand, the org's first; a model's template often has
// room for one system message alone, so they and the caller's are made one.
//
// Tested by tests/gateway/pipeline/defaults_test.cpp.
#include "gateway/pipeline/defaults.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/directory/chat_defaults.h"
#include "gateway/pipeline/strict.h"
#include "gateway/pipeline/tool_prompt.h"
#include "inference/pool.h"

namespace tollgate::pipeline {
namespace {

namespace v1 = tollgate::v1;
using directory::ChatDefaults;

static_assert(directory::kBandLast == inference::kBands - 1 && directory::kBandOrdinary == inference::kBandDefault);

absl::Status Exceeds(const ChatDefaults& defaults, std::string_view param, const std::string& asked, const std::string& allowed) {
  return base::WithDetail(base::InvalidArgument(fmt::format("{}: {}; {} {} allows at most {} (version {} of its defaults)", param, asked,
                                                            defaults.scope_kind, defaults.scope_name, allowed, defaults.version)),
                          {.reason = "CAP_EXCEEDED",
                           .param = std::string(param),
                           .may_retry = false,
                           .subject = fmt::format("{} {}", defaults.scope_kind, defaults.scope_name)});
}

void Clamped(DefaultsApplied& applied, const char* name) {
  if (std::find(applied.clamped.begin(), applied.clamped.end(), name) == applied.clamped.end()) applied.clamped.emplace_back(name);
}

absl::Status CapTemperature(DefaultsChain chain, bool named, v1::ChatRequest& request, DefaultsApplied& applied) {
  constexpr double kApiDefault = 1.0;
  v1::Sampling* sampling = request.mutable_sampling();
  const double asked = sampling->has_temperature() ? sampling->temperature() : kApiDefault;
  for (const ChatDefaults* defaults : chain) {
    const v1::ChatDefaults& set = defaults->settings;
    const double so_far = sampling->has_temperature() ? sampling->temperature() : kApiDefault;
    if (!set.has_temperature_cap() || so_far <= set.temperature_cap()) continue;
    if (named && !set.clamp())
      return Exceeds(*defaults, "temperature", fmt::format("is {}", asked), fmt::format("{}", set.temperature_cap()));
    if (named) Clamped(applied, "temperature");
    sampling->set_temperature(set.temperature_cap());
  }
  return absl::OkStatus();
}

// Of all replies together.
absl::Status CapOutput(DefaultsChain chain, bool named, v1::ChatRequest& request, DefaultsApplied& applied) {
  const std::int32_t asked = request.max_tokens(), replies = std::max(1, request.choices());
  const std::string of_each = replies > 1 ? fmt::format("is {} for each of {} replies", asked, replies) : fmt::format("is {}", asked);
  for (const ChatDefaults* defaults : chain) {
    const v1::ChatDefaults& set = defaults->settings;
    if (!set.has_output_tokens_cap()) continue;
    const std::string allowed = fmt::format("{} tokens of output", set.output_tokens_cap());
    if (replies > set.output_tokens_cap()) return Exceeds(*defaults, "n", fmt::format("is {}", replies), allowed);
    const std::int32_t each = set.output_tokens_cap() / replies;
    if (request.max_tokens() > 0 && request.max_tokens() <= each) continue;
    if (named && !set.clamp()) return Exceeds(*defaults, "max_tokens", of_each, allowed);
    if (named) Clamped(applied, "max_tokens");
    request.set_max_tokens(each);
  }
  return absl::OkStatus();
}

absl::Status CapStops(DefaultsChain chain, v1::ChatRequest& request, DefaultsApplied& applied) {
  const int asked = request.stop_size();
  for (const ChatDefaults* defaults : chain) {
    const v1::ChatDefaults& set = defaults->settings;
    if (!set.has_stop_cap() || request.stop_size() <= set.stop_cap()) continue;
    if (!set.clamp()) return Exceeds(*defaults, "stop", fmt::format("holds {} strings", asked), fmt::format("{}", set.stop_cap()));
    Clamped(applied, "stop");
    request.mutable_stop()->DeleteSubrange(set.stop_cap(), request.stop_size() - set.stop_cap());
  }
  return absl::OkStatus();
}

// The scope whose cap on thoughts is the least; null: none has one.
const ChatDefaults* LeastThoughtCap(DefaultsChain chain) {
  const ChatDefaults* least = nullptr;
  for (const ChatDefaults* defaults : chain) {
    if (!defaults->settings.has_reasoning_tokens_cap()) continue;
    if (least == nullptr || defaults->settings.reasoning_tokens_cap() < least->settings.reasoning_tokens_cap()) least = defaults;
  }
  return least;
}

std::string ThoughtsAllowed(const ChatDefaults& defaults) {
  return fmt::format("{} tokens of thought", defaults.settings.reasoning_tokens_cap());
}

// What a request leaves out is bounded later: only the model tells whether it thinks.
absl::Status CapThoughts(DefaultsChain chain, v1::ChatRequest& request, DefaultsApplied& applied) {
  const std::int32_t asked = request.max_reasoning_tokens();
  for (const ChatDefaults* defaults : chain) {
    const v1::ChatDefaults& set = defaults->settings;
    if (!set.has_reasoning_tokens_cap() || request.max_reasoning_tokens() <= set.reasoning_tokens_cap()) continue;
    if (!set.clamp()) return Exceeds(*defaults, "max_reasoning_tokens", fmt::format("is {}", asked), ThoughtsAllowed(*defaults));
    Clamped(applied, "max_reasoning_tokens");
    request.set_max_reasoning_tokens(set.reasoning_tokens_cap());
  }
  const ChatDefaults* least = LeastThoughtCap(chain);
  if (least != nullptr) applied.thought_tokens_max = least->settings.reasoning_tokens_cap();
  return absl::OkStatus();
}

void AddDefaults(DefaultsChain chain, v1::ChatRequest& request) {
  v1::Sampling sampling;
  std::int32_t max_tokens = 0;
  for (const ChatDefaults* defaults : chain) {
    sampling.MergeFrom(defaults->settings.sampling());
    if (defaults->settings.has_max_tokens()) max_tokens = defaults->settings.max_tokens();
  }
  sampling.MergeFrom(request.sampling());
  *request.mutable_sampling() = sampling;
  if (request.max_tokens() == 0) request.set_max_tokens(max_tokens);
}

}  // namespace

absl::StatusOr<DefaultsApplied> ApplyDefaults(DefaultsChain chain, v1::ChatRequest& request) {
  DefaultsApplied applied;
  applied.output_named = request.max_tokens() > 0;
  if (chain.empty()) return applied;
  for (const ChatDefaults* defaults : chain) {
    v1::DefaultsInForce* in_force = applied.in_force.Add();
    in_force->set_scope_kind(defaults->scope_kind);
    in_force->set_version(defaults->version);
    in_force->set_sha256(std::string(base::View(defaults->sha256)));
  }
  const bool temperature_named = request.sampling().has_temperature();
  AddDefaults(chain, request);
  TG_RETURN_IF_ERROR(CapTemperature(chain, temperature_named, request, applied));
  TG_RETURN_IF_ERROR(CapOutput(chain, applied.output_named, request, applied));
  TG_RETURN_IF_ERROR(CapStops(chain, request, applied));
  TG_RETURN_IF_ERROR(CapThoughts(chain, request, applied));
  applied.standing = StandingOf(chain);
  applied.caller_system = PutSystemPrompt(chain, *request.mutable_messages());
  return applied;
}

Standing StandingOf(DefaultsChain chain) {
  Standing standing;
  for (const ChatDefaults* defaults : chain) {
    const v1::ChatDefaults& set = defaults->settings;
    if (set.has_band()) standing.band = set.band();
    if (set.has_weight()) standing.weight = set.weight();
  }
  return standing;
}

Messages PutSystemPrompt(DefaultsChain chain, Messages& messages) {
  std::string prompt;
  bool replaces = false;
  for (const ChatDefaults* defaults : chain) {
    const v1::ChatDefaults& set = defaults->settings;
    if (!prompt.empty() && !set.system_prompt().empty()) prompt += "\n\n";
    prompt += set.system_prompt();
    replaces = replaces || set.replaces_system();
  }
  if (prompt.empty()) return {};
  const auto is_system = [](const v1::ChatMessage& message) { return message.role() == v1::ROLE_SYSTEM; };
  Messages caller_system, out;
  std::copy_if(messages.begin(), messages.end(), google::protobuf::RepeatedFieldBackInserter(&caller_system), is_system);
  v1::ChatMessage* first = out.Add();
  first->set_role(v1::ROLE_SYSTEM);
  const bool joins = !replaces && !messages.empty() && is_system(messages[0]);
  first->add_parts(joins ? prompt + "\n\n" : prompt);
  if (joins) first->MergeFrom(messages[0]);
  for (int i = joins ? 1 : 0; i < messages.size(); ++i) {
    if (!replaces || !is_system(messages[i])) *out.Add() = std::move(messages[i]);
  }
  messages.Swap(&out);
  return caller_system;
}

absl::Status CheckInputTokens(DefaultsChain chain, std::int64_t tokens) {
  for (const ChatDefaults* defaults : chain) {
    const v1::ChatDefaults& set = defaults->settings;
    if (!set.has_input_tokens_cap() || tokens <= set.input_tokens_cap()) continue;
    return Exceeds(*defaults, "messages", fmt::format("the prompt is {} tokens long", tokens), fmt::format("{}", set.input_tokens_cap()));
  }
  return absl::OkStatus();
}

absl::Status CheckThoughtCap(DefaultsChain chain, const v1::ChatRequest& request, const inference::ModelInfo& model) {
  const ChatDefaults* least = LeastThoughtCap(chain);
  if (least == nullptr || request.max_reasoning_tokens() > 0 || !SyntaxOf(request, model).thinks) return absl::OkStatus();
  const auto refuse = [&](const char* param, const char* what) {
    const std::string asked = fmt::format("{} cannot have its thought closed, and {} thinks", what, model.name);
    return Exceeds(*least, param, asked, ThoughtsAllowed(*least));
  };
  if (IsStrict(request)) return refuse("replay", "a strict answer");
  const bool forced = request.tool_choice().required() || request.tool_choice().has_function();
  if (forced && model.opens_thinking) return refuse("tool_choice", "a call that is forced");
  return absl::OkStatus();
}

// The org's prompt stands first, so what it shares with the whole prompt is its beginning. Compared are tokens, for what follows may change
// how the last of its text is cut into them; and none that is common to both can hold anything else's text.
std::int64_t PublishedTokens(DefaultsChain chain, const inference::Pool& pool, const std::string& model,
                             std::span<const std::int32_t> prompt) {
  if (chain.empty() || !chain.front()->settings.shares_cache()) return 0;
  inference::Turn turn;
  turn.role = "system";
  turn.text = chain.front()->settings.system_prompt();
  const auto alone = pool.Render(model, std::span(&turn, 1));
  if (!alone.ok()) return 0;
  return std::mismatch(prompt.begin(), prompt.end(), alone->begin(), alone->end()).first - prompt.begin();
}

}  // namespace tollgate::pipeline
