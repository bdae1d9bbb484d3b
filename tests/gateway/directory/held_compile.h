// Compiles policies, and holds those with a word in them until the test lets them go or they are given up.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

#include "gateway/directory/policy_compiler.h"

namespace tollgate::directory::test {

class HeldCompile {
 public:
  ~HeldCompile() { LetAllGo(); }

  PolicyCompiler::Compile AsCompile() {
    return [this](std::span<const policy::PolicySource> sources, const PolicyCompiler::KeepGoing& keep_going) -> PolicyCompiler::Compiled {
      TG_RETURN_IF_ERROR(Wait(sources, keep_going));
      return PolicyCompiler::WithoutTests(sources, keep_going);
    };
  }
  void Hold(const std::string& word) {
    std::lock_guard lock(mu_);
    held_.insert(word);
  }
  void LetGo(const std::string& word) {
    std::lock_guard lock(mu_);
    held_.erase(word);
    changed_.notify_all();
  }
  void LetAllGo() {
    std::lock_guard lock(mu_);
    held_.clear();
    changed_.notify_all();
  }
  void AwaitBegun(const std::string& word) {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return begun_.contains(word); });
  }
  int times() const {
    std::lock_guard lock(mu_);
    return times_;
  }

 private:
  absl::Status Wait(std::span<const policy::PolicySource> sources, const PolicyCompiler::KeepGoing& keep_going) {
    std::unique_lock lock(mu_);
    ++times_;
    const auto is_held = [&] {
      for (const policy::PolicySource& source : sources) {
        for (const std::string& word : held_) {
          if (source.yaml.find(word) == std::string::npos) continue;
          begun_.insert(word);
          return true;
        }
      }
      return false;
    };
    while (is_held()) {
      changed_.notify_all();
      TG_RETURN_IF_ERROR(keep_going ? keep_going() : absl::OkStatus());
      changed_.wait_for(lock, std::chrono::milliseconds(5));  // Who gives up tells nobody.
    }
    return absl::OkStatus();
  }

  mutable std::mutex mu_;
  std::condition_variable changed_;
  std::set<std::string> held_, begun_;
  int times_ = 0;
};

}  // namespace tollgate::directory::test
