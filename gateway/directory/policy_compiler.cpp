// A job stands in `jobs` from Get until it is told or given up, and in `queue` until a thread takes it. A thread takes the first one whose
// org no other thread works for. A job that is given up is dropped from both; one that runs then ends when it next asks whether to go on,
// and what came of it is told to nobody.
//
// Tested by tests/gateway/directory/policy_compiler_test.cpp.
#include "gateway/directory/policy_compiler.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace tollgate::directory {
namespace {

struct Job {
  Job(const base::Uuid& of, const base::Digest& digest, PolicyCompiler::Sources texts) : org(of), key(digest), sources(std::move(texts)) {}

  const base::Uuid org;
  const base::Digest key;
  const PolicyCompiler::Sources sources;
  std::atomic<bool> given_up = false;
  std::optional<PolicyCompiler::Compiled> compiled = std::nullopt;  // Under the compiler's lock.
};

// Enough that one org's hour of compiling leaves others a thread, and few enough that requests keep their cores.
int Threads() { return static_cast<int>(std::clamp(std::thread::hardware_concurrency() / 2, 2u, 4u)); }

}  // namespace

struct PolicyCompiler::Impl {
  using Slot = std::pair<base::Uuid, Of>;

  Compile compile;
  std::function<void()> done;
  std::vector<std::thread> threads;

  mutable base::Mutex mu;
  std::condition_variable ready;  // For threads: a job may be taken, or it is over.
  std::condition_variable news;   // For WaitForDone.
  std::map<Slot, std::shared_ptr<Job>> jobs GUARDED_BY(mu);
  std::deque<std::shared_ptr<Job>> queue GUARDED_BY(mu);
  std::set<base::Uuid> busy GUARDED_BY(mu);
  std::set<base::Uuid> finished GUARDED_BY(mu);
  std::atomic<bool> stopping = false;

  void Loop();
  std::shared_ptr<Job> Next() REQUIRES(mu);
  void GiveUp(const Slot& slot) REQUIRES(mu);
  void TakeTried(const base::Uuid& org, const base::Digest& key) REQUIRES(mu);
};

std::shared_ptr<Job> PolicyCompiler::Impl::Next() {
  const auto free = std::find_if(queue.begin(), queue.end(), [this](const auto& job) REQUIRES(mu) { return !busy.contains(job->org); });
  if (free == queue.end()) return nullptr;
  std::shared_ptr<Job> job = *free;
  queue.erase(free);
  busy.insert(job->org);
  return job;
}

void PolicyCompiler::Impl::GiveUp(const Slot& slot) {
  const auto found = jobs.find(slot);
  if (found == jobs.end()) return;
  found->second->given_up = true;
  std::erase(queue, found->second);
  jobs.erase(found);
}

// What was asked for to be tried is wanted in force: the wait is what is left of it.
void PolicyCompiler::Impl::TakeTried(const base::Uuid& org, const base::Digest& key) {
  const auto tried = jobs.find({org, Of::kTrial});
  if (tried == jobs.end() || tried->second->key != key) return;
  std::shared_ptr<Job> job = std::move(tried->second);
  jobs.erase(tried);
  GiveUp({org, Of::kInForce});
  jobs[{org, Of::kInForce}] = std::move(job);
}

void PolicyCompiler::Impl::Loop() {
  while (true) {
    std::shared_ptr<Job> job;
    {
      base::Lock lock(mu);
      ready.wait(lock.native(), [&]() REQUIRES(mu) { return stopping || (job = Next()) != nullptr; });
      if (stopping) return;
    }
    Compiled compiled = compile(job->sources(), [&]() -> absl::Status {
      return stopping || job->given_up ? base::Cancelled("these policies are wanted no more") : absl::OkStatus();
    });
    bool told = false;
    {
      base::Lock lock(mu);
      busy.erase(job->org);
      told = !job->given_up && !stopping;
      if (told) {
        job->compiled = std::move(compiled);
        finished.insert(job->org);
      }
      ready.notify_all();  // The org's next one may be taken.
      news.notify_all();
    }
    if (told && done) done();
  }
}

PolicyCompiler::PolicyCompiler(Compile compile, std::function<void()> done) : impl_(std::make_unique<Impl>()) {
  impl_->compile = compile ? std::move(compile) : Compile(WithoutTests);
  impl_->done = std::move(done);
  for (int i = 0; i < Threads(); ++i) impl_->threads.emplace_back([this] { impl_->Loop(); });
}

PolicyCompiler::~PolicyCompiler() {
  {
    base::Lock lock(impl_->mu);
    impl_->stopping = true;
    impl_->ready.notify_all();
  }
  for (std::thread& thread : impl_->threads) thread.join();
}

PolicyCompiler::Compiled PolicyCompiler::WithoutTests(std::span<const policy::PolicySource> sources, const KeepGoing& keep_going) {
  return policy::PolicySet::Compile(sources, policy::RunTests::kNo, keep_going);
}

std::optional<PolicyCompiler::Compiled> PolicyCompiler::Get(const base::Uuid& org, Of of, const base::Digest& key, Sources sources) {
  base::Lock lock(impl_->mu);
  const Impl::Slot slot{org, of};
  if (of == Of::kInForce) impl_->TakeTried(org, key);
  if (const auto found = impl_->jobs.find(slot); found != impl_->jobs.end() && found->second->key == key) {
    std::optional<Compiled> compiled = std::move(found->second->compiled);
    if (compiled.has_value()) impl_->jobs.erase(found);
    return compiled;
  }
  impl_->GiveUp(slot);
  const auto job = std::make_shared<Job>(org, key, std::move(sources));
  impl_->jobs[slot] = job;
  impl_->queue.push_back(job);
  impl_->ready.notify_one();
  return std::nullopt;
}

void PolicyCompiler::GiveUp(const base::Uuid& org, Of of) {
  base::Lock lock(impl_->mu);
  impl_->GiveUp({org, of});
}

std::vector<base::Uuid> PolicyCompiler::TakeDone() {
  base::Lock lock(impl_->mu);
  const std::set<base::Uuid> done = std::exchange(impl_->finished, {});
  return {done.begin(), done.end()};
}

bool PolicyCompiler::HasDone() const {
  base::Lock lock(impl_->mu);
  return !impl_->finished.empty();
}

bool PolicyCompiler::WaitForDone(std::chrono::steady_clock::time_point until) {
  base::Lock lock(impl_->mu);
  return impl_->news.wait_until(lock.native(), until, [this]() REQUIRES(impl_->mu) { return !impl_->finished.empty(); });
}

}  // namespace tollgate::directory
