// A pool between the pipeline and the world's own: does what that does, and keeps what it was asked to work on. Its models may be such
// whose output cannot be taken back.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "inference/pool.h"

namespace tollgate::test {

// Of a sequence (each of a group's alike) or a job.
struct WatchedWork {
  std::string model;
  bool embeds = false;
  base::TeamId tenant;
  base::KeyId key;
  int band = 0;
  double weight = 0;
  std::string grammar = {};
  bool goes_on = false;
  std::size_t prompt_tokens = 0;
  std::int64_t allowance = 0;
  bool allowance_final = false;
  std::thread::id thread = std::this_thread::get_id();  // That submitted it.
};

class WatchedPool final : public inference::Pool {
 public:
  inference::Pool* inner = nullptr;  // Set before the first call, as
  bool rewinds = true;               // this: false = no model rewinds.
  bool resumes = true;               // The same.
  absl::Status embeds;               // What a job is refused with,
  absl::Status chats;                // and a sequence,
  absl::Status rests;                // and one that goes on for another.
  std::function<void()> submitted;   // Called behind each sequence that was let in.
  bool forms = false;                // All its models hold output to forms; those of the world's own are not told of any.
  // What each of several replies is asked for instead: they then are sequences of their own.
  std::function<void(std::size_t, inference::SequenceRequest&)> each;

  // What has come since the last Take.
  std::vector<WatchedWork> Take() {
    std::lock_guard lock(mu_);
    return std::exchange(seen_, {});
  }

  std::vector<inference::ModelInfo> models() const override {
    std::vector<inference::ModelInfo> out = inner->models();
    for (inference::ModelInfo& model : out) Change(model);
    return out;
  }
  absl::StatusOr<inference::ModelInfo> Find(std::string_view name) const override {
    auto model = inner->Find(name);
    if (model.ok()) Change(*model);
    return model;
  }
  absl::Status Load(inference::ModelOptions model) override { return inner->Load(std::move(model)); }
  absl::Status Check(const inference::ModelOptions& model) const override { return inner->Check(model); }
  absl::Status LoadAdapter(inference::AdapterOptions adapter) override { return inner->LoadAdapter(std::move(adapter)); }
  absl::Status CheckAdapter(const inference::AdapterOptions& adapter) const override { return inner->CheckAdapter(adapter); }
  absl::Status Unload(std::string_view name, base::MonoTime deadline) override { return inner->Unload(name, deadline); }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::string_view model, std::span<const inference::Turn> turns) const override {
    return inner->Render(model, turns);
  }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view model, std::string_view text) const override {
    return inner->Tokenize(model, text);
  }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::string_view model,
                                                        std::span<const inference::PromptPart> parts) const override {
    return inner->RenderParts(model, parts);
  }
  absl::StatusOr<std::shared_ptr<inference::TokenStream>> Submit(inference::SequenceRequest request) override {
    if (!chats.ok()) return chats;
    See(request, false);
    if (request.goes_on && !rests.ok()) return rests;
    if (forms) {
      request.json = false;
      request.grammar.clear();
    }
    auto stream = inner->Submit(std::move(request));
    if (stream.ok() && submitted) submitted();
    return stream;
  }
  absl::StatusOr<std::vector<std::shared_ptr<inference::TokenStream>>> SubmitGroup(inference::SequenceRequest request,
                                                                                   std::span<const std::uint64_t> seeds) override {
    See(request, false);
    if (!each) return inner->SubmitGroup(std::move(request), seeds);
    std::vector<std::shared_ptr<inference::TokenStream>> out;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      inference::SequenceRequest one = request;
      one.sampling.seed = seeds[i];
      each(i, one);
      TG_ASSIGN(out.emplace_back(), inner->Submit(std::move(one)));
    }
    return out;
  }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(std::string_view model, const inference::EmbedText& text) const override {
    return inner->EmbedTokens(model, text);
  }
  absl::StatusOr<std::string> TextOf(std::string_view model, std::span<const std::int32_t> tokens) const override {
    return inner->TextOf(model, tokens);
  }
  absl::StatusOr<std::shared_ptr<inference::TokenStream>> Embed(inference::EmbedJob job) override {
    if (!embeds.ok()) return embeds;
    See(job, true);
    return inner->Embed(std::move(job));
  }
  bool Takes(std::string_view model, const base::TeamId& tenant, int sequences) const override {
    return inner->Takes(model, tenant, sequences);
  }
  std::vector<inference::ReplicaStats> stats() const override { return inner->stats(); }
  void Drain(base::MonoTime deadline) override { inner->Drain(deadline); }

 private:
  void Change(inference::ModelInfo& model) const {
    model.rewinds = model.rewinds && rewinds;
    model.resumes = model.resumes && resumes;
    model.grammars = model.grammars || forms;
  }
  template <typename Work>
  void See(const Work& work, bool embeds) {
    std::lock_guard lock(mu_);
    seen_.push_back({work.model, embeds, work.tenant, work.key, work.band, work.weight});
    if constexpr (requires { work.grammar; }) seen_.back().grammar = work.grammar;
    if constexpr (requires { work.goes_on; }) seen_.back().goes_on = work.goes_on;
    if constexpr (requires { work.prompt_tokens; }) seen_.back().prompt_tokens = work.prompt_tokens.size();
    if constexpr (requires { work.allowance; }) seen_.back().allowance = work.allowance;
    if constexpr (requires { work.allowance_final; }) seen_.back().allowance_final = work.allowance_final;
  }

  std::mutex mu_;
  std::vector<WatchedWork> seen_;
};

}  // namespace tollgate::test
