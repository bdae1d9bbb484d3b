// One loop: compare what shall be with what this keeper has loaded, do the first difference, look again; with none, sleep until the next
// look. What it has loaded it remembers with the settings it was loaded with, so that a name that was retired and registered anew for
// another file is loaded anew. A load blocks this thread alone: records and running requests never wait for one, and a stop breaks it off
// (PoolOptions::go_on).
// Names are gone through in order, so that a model comes before its adapters ("qwen3" before "qwen3:legal"); one whose model is not there
// is refused, and tried again as soon as it is.
//
// Tested by tests/gateway/serve/model_keeper_test.cpp.
#include "gateway/serve/model_keeper.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/mutex.h"
#include "gateway/directory/shard.h"

namespace tollgate::serve {
namespace {

using directory::Model;

struct Known {
  Model model;  // As it was tried.
  admin::ModelHost::Standing standing;
  base::MonoTime tried_at{};
};

inference::ModelOptions OptionsOf(const Model& model, const ModelKeeperOptions& keeper) {
  const std::string& models_dir = keeper.models_dir;
  inference::ModelOptions options;
  options.name = model.name;
  options.engine = model.engine == "scripted" ? inference::EngineKind::kScripted : inference::EngineKind::kLlama;
  if (!model.file.empty()) options.file = models_dir + "/" + model.file;
  options.sha256 = model.sha256;
  options.chat_template = model.chat_template;
  options.licence = model.licence;
  options.slots = static_cast<int>(model.slots);
  options.context_tokens = model.context_tokens;
  options.threads = static_cast<int>(model.threads);
  options.kv = KvOf(model.kv);
  options.queue_sequences_max = static_cast<int>(model.queue_max);
  options.queue_timeout = std::chrono::milliseconds(model.queue_timeout_ms);
  options.prefix_cache_bytes = model.prefix_cache_bytes;
  options.step_target = std::chrono::milliseconds(model.step_target_ms);
  options.pooling = inference::PoolingOf(model.pooling).value_or(inference::Pooling::kNone);
  options.strict = model.strict;
  options.kv_tokens = model.kv_tokens;
  options.device_sampling = keeper.device_sampling;
  return options;
}

inference::AdapterOptions AdapterOf(const Model& model, const std::string& models_dir) {
  return {.name = model.name,
          .base = model.base,
          .file = models_dir + "/" + model.file,
          .sha256 = model.sha256,
          .scale = static_cast<double>(model.scale_millionths) / 1e6};
}

}  // namespace

inference::KvType KvOf(std::string_view name) {
  return name == "q8" ? inference::KvType::kQ8 : name == "f32" ? inference::KvType::kF32 : inference::KvType::kF16;
}

inference::DeviceSampling DeviceSamplingOf(std::string_view name) {
  using inference::DeviceSampling;
  return name == "auto" ? DeviceSampling::kAuto : name == "on" ? DeviceSampling::kOn : DeviceSampling::kOff;
}

struct ModelKeeper::Impl {
  const directory::Directory& directory;
  inference::Pool& pool;
  const base::Clock& clock;
  const ModelKeeperOptions options;

  mutable base::Mutex mu;
  std::condition_variable wake;
  std::map<std::string, Known, std::less<>> known GUARDED_BY(mu);
  std::optional<std::set<std::string, std::less<>>> awaited GUARDED_BY(mu);  // Of the first snapshot, what was not tried yet.
  bool stopping GUARDED_BY(mu) = false;
  bool poked GUARDED_BY(mu) = false;
  std::thread thread;

  void Loop();
  void Meet(const directory::Snapshot& snapshot);       // The first one says what is awaited.
  bool Reconcile(const directory::Snapshot& snapshot);  // True if something was done: look again at once.
  bool MustLoad(const Model& model) const;
  void Load(const Model& model);
  void Unload(const std::string& name);
  void ForgetAdaptersOf(const std::string& name);
  void Stand(const Model& model, v1::ModelState state, std::string problem = {});
  bool Stopping() const {
    base::Lock lock(mu);
    return stopping;
  }
};

void ModelKeeper::Impl::Loop() {
  while (!Stopping()) {
    const auto snapshot = directory.InForce();
    if (snapshot.ok() && Reconcile(**snapshot)) continue;
    base::Lock lock(mu);
    wake.wait_for(lock.native(), options.look, [this]() REQUIRES(mu) { return poked || stopping; });
    poked = false;
  }
}

void ModelKeeper::Impl::Meet(const directory::Snapshot& snapshot) {
  base::Lock lock(mu);
  if (awaited.has_value()) return;
  awaited.emplace();
  for (const auto& [name, model] : snapshot.installation().models) {
    if (model.loaded) awaited->insert(name);
  }
}

bool ModelKeeper::Impl::Reconcile(const directory::Snapshot& snapshot) {
  Meet(snapshot);
  std::vector<std::string> gone;
  {
    base::Lock lock(mu);
    for (auto it = known.begin(); it != known.end();) {
      const Model* model = snapshot.FindModel(it->first);
      const bool wanted = model != nullptr && model->loaded && SameReplica(*model, it->second.model);
      if (!wanted && it->second.standing.state == v1::MODEL_STATE_LOADED) gone.push_back(it->first);
      it = wanted || it->second.standing.state == v1::MODEL_STATE_LOADED ? std::next(it) : known.erase(it);
    }
  }
  for (const std::string& name : gone) Unload(name);  // First: what comes may need their memory.
  for (const auto& [name, model] : snapshot.installation().models) {
    if (!model.loaded || !MustLoad(model)) continue;
    Load(model);
    return true;  // It may have taken long: what shall be may be something else by now.
  }
  return !gone.empty();
}

bool ModelKeeper::Impl::MustLoad(const Model& model) const {
  base::Lock lock(mu);
  if (stopping) return false;
  const auto found = known.find(model.name);
  if (found == known.end()) return true;
  return found->second.standing.state == v1::MODEL_STATE_REFUSED && clock.Mono() - found->second.tried_at >= options.retry;
}

void ModelKeeper::Impl::Load(const Model& model) {
  Stand(model, v1::MODEL_STATE_LOADING);
  base::Info("models", "loading {}", model.name);
  const auto begun = clock.Mono();
  const absl::Status status =
      model.base.empty() ? pool.Load(OptionsOf(model, options)) : pool.LoadAdapter(AdapterOf(model, options.models_dir));
  if (status.ok()) {
    ForgetAdaptersOf(model.name);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(clock.Mono() - begun);
    base::Info("models", "{} is loaded and warm after {} ms", model.name, took.count());
    return Stand(model, v1::MODEL_STATE_LOADED);
  }
  if (absl::IsCancelled(status)) {
    base::Info("models", "{}", base::Message(status));
    return Stand(model, v1::MODEL_STATE_REFUSED, base::Message(status));
  }
  base::Error("models", "{} cannot be loaded, next try in {} s: {}", model.name, options.retry.count() / 1000, base::Message(status));
  Stand(model, v1::MODEL_STATE_REFUSED, base::Message(status));
}

void ModelKeeper::Impl::Unload(const std::string& name) {
  {
    base::Lock lock(mu);
    const auto found = known.find(name);
    if (found == known.end()) return;  // An adapter that went with its model.
    found->second.standing.state = v1::MODEL_STATE_UNLOADING;
  }
  const absl::Status status = pool.Unload(name, clock.Mono() + options.drain);
  if (status.ok()) base::Info("models", "{} is unloaded", name);
  base::Lock lock(mu);
  known.erase(name);
  std::erase_if(known, [&](const auto& one) { return one.second.model.base == name; });  // They went with it.
}

// Those that waited for this model are tried at once.
void ModelKeeper::Impl::ForgetAdaptersOf(const std::string& name) {
  base::Lock lock(mu);
  std::erase_if(known, [&](const auto& one) { return one.second.model.base == name; });
}

void ModelKeeper::Impl::Stand(const Model& model, v1::ModelState state, std::string problem) {
  base::Lock lock(mu);
  known.insert_or_assign(model.name, Known{model, {state, std::move(problem)}, clock.Mono()});
  if (state != v1::MODEL_STATE_LOADING && awaited.has_value()) awaited->erase(model.name);
}

ModelKeeper::ModelKeeper(const directory::Directory& directory, inference::Pool& pool, const base::Clock& clock, ModelKeeperOptions options)
    : impl_(new Impl{directory, pool, clock, std::move(options)}) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->Loop(); });
}

ModelKeeper::~ModelKeeper() {
  Stop();
  impl_->thread.join();
}

void ModelKeeper::Stop() {
  base::Lock lock(impl_->mu);
  impl_->stopping = true;
  impl_->wake.notify_all();
}

absl::Status ModelKeeper::Check(const Model& model) const {
  const std::string& dir = impl_->options.models_dir;
  return model.base.empty() ? impl_->pool.Check(OptionsOf(model, impl_->options)) : impl_->pool.CheckAdapter(AdapterOf(model, dir));
}

bool ModelKeeper::IsConfigured(std::string_view model) const {
  const auto loaded = impl_->pool.models();
  const bool there = std::any_of(loaded.begin(), loaded.end(), [model](const auto& info) { return info.name == model; });
  return there && StandingOf(model).state == v1::MODEL_STATE_UNLOADED;
}

std::vector<std::string> ModelKeeper::Configured() const {
  std::vector<std::string> out;
  for (const auto& info : impl_->pool.models()) {
    if (StandingOf(info.name).state == v1::MODEL_STATE_UNLOADED) out.push_back(info.name);
  }
  return out;
}

admin::ModelHost::Standing ModelKeeper::StandingOf(std::string_view model) const {
  Standing standing;
  {
    base::Lock lock(impl_->mu);
    const auto found = impl_->known.find(model);
    if (found != impl_->known.end()) standing = found->second.standing;
  }
  if (standing.state != v1::MODEL_STATE_LOADED) return standing;
  for (const inference::ReplicaStats& replica : impl_->pool.stats()) {
    if (replica.model != model || replica.ready) continue;
    standing.problem =
        replica.upstream.endpoints > 0 ? "none of its servers can be reached" : "its process ended and is being started again";
  }
  return standing;
}

void ModelKeeper::Retry(std::string_view model) {
  base::Lock lock(impl_->mu);
  const auto found = impl_->known.find(model);
  if (found != impl_->known.end() && found->second.standing.state == v1::MODEL_STATE_REFUSED) impl_->known.erase(found);
  impl_->poked = true;
  impl_->wake.notify_all();
}

std::vector<std::string> ModelKeeper::Loading() const {
  std::vector<std::string> names;
  const auto snapshot = impl_->directory.InForce();
  if (!snapshot.ok()) return names;
  impl_->Meet(**snapshot);
  base::Lock lock(impl_->mu);
  for (const std::string& name : *impl_->awaited) {
    const Model* model = (*snapshot)->FindModel(name);
    if (model != nullptr && model->loaded) names.push_back(name);
  }
  return names;
}

}  // namespace tollgate::serve
