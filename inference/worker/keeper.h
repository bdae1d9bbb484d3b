// WorkerKeeper: sees to it that a model's process runs: starts it, loads the model, sees its end, and begins again, with a pause that
// doubles and a rest after five ends in a row. On a thread of its own. Internal to the room.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include <sys/types.h>

#include "base/mutex.h"
#include "base/status.h"
#include "inference/pool.h"
#include "inference/worker/socket.h"
#include "inference/worker/worker_engine.h"
#include "tollgate/v1/worker.pb.h"

namespace tollgate::inference {

// A process whose model is loaded. The socket is for one thread at a time.
struct Worker {
  std::int64_t number = 0;  // From 1 on.
  pid_t pid = 0;
  WorkerSocket socket;
  v1::WorkerStarted started;
};

// Sends a call and waits for its answer, whose status it returns. `sound` false: the process did not answer, or not what is an answer; it
// is of no more use, and the status says why. CANCELLED, and not sound: `go_on`, asked at each sign of life, said no.
absl::Status AskWorker(WorkerSocket& socket, const v1::WorkerCall& call, std::chrono::milliseconds limit,
                       std::chrono::milliseconds silent_max, v1::WorkerReply& reply, bool& sound, const std::function<bool()>& go_on = {});

class WorkerKeeper {
 public:
  WorkerKeeper(const ModelOptions& model, const WorkerHost& host);
  ~WorkerKeeper();  // Stop, and waits for the process's end.

  absl::Status Start();  // Returns when the model is loaded, or could not be: then nothing runs.

  std::shared_ptr<Worker> Now() const;  // None while there is no process with a loaded model. Any thread.
  absl::Status Ready() const;           // Any thread.
  absl::Status Lost() const;            // What sequences end with whose process ended. Any thread.
  std::int64_t restarts() const { return restarts_.load(std::memory_order_relaxed); }

  void GiveUp(const Worker& worker, const std::string& why);  // It is of no more use: kills it. Any thread.
  void Stop();                                                // Kills it, and starts none any more. Any thread.

 private:
  void Run(std::promise<absl::Status>& first);
  absl::Status Launch(std::int64_t number, bool& gone);  // `gone`: the process ended instead of answering.
  absl::Status Load(Worker& worker, bool& gone) const;
  absl::Status IsTheSame(const v1::WorkerStarted& started);
  std::string AwaitEnd();
  bool HadLived(base::MonoTime::duration ran);  // Of the process that ended, so long after it was loaded.
  bool Pause(int failures);

  const ModelOptions model_;
  const WorkerHost host_;
  std::thread thread_;
  std::string first_;  // What the first process said that it loaded. The thread's.
  std::atomic<std::int64_t> restarts_{0};

  mutable base::Mutex mu_;
  std::condition_variable stop_;
  std::shared_ptr<Worker> worker_ GUARDED_BY(mu_);
  pid_t pid_ GUARDED_BY(mu_) = 0;                 // The process that runs, or ended and was not waited for: its number is nobody else's.
  base::MonoTime rests_until_ GUARDED_BY(mu_){};  // Or paused, when it is started again.
  base::MonoTime::duration load_took_ GUARDED_BY(mu_){};  // The last time.
  bool rests_ GUARDED_BY(mu_) = false;
  bool given_up_ GUARDED_BY(mu_) = false;  // The process, for its silence or for what it said.
  bool stopping_ GUARDED_BY(mu_) = false;
};

}  // namespace tollgate::inference
