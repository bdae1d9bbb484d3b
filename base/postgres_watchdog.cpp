// One thread for the whole program, started on first use and never joined: it owns nothing that outlives a call. Deadlines lie in a map
// by time; the thread sleeps until the first of them, and is woken only when an earlier one arrives, which is rare.
// Tested by tests/base/postgres_faults_test.cpp.
#include "base/postgres_watchdog.h"

#include <map>
#include <thread>
#include <utility>

#include <sys/socket.h>

#include "base/mutex.h"

namespace tollgate::base {
namespace {

using Time = std::chrono::steady_clock::time_point;

class Watchdog {
 public:
  static Watchdog& Get() {
    static Watchdog* const dog = new Watchdog();  // Never destroyed: calls may run while the program ends.
    return *dog;
  }

  std::uint64_t Add(int socket, Time at) {
    Lock lock(mu_);
    const std::uint64_t id = ++last_id_;
    deadlines_.emplace(std::pair(at, id), socket);
    if (at < sleeps_until_) wake_.notify_one();
    return id;
  }

  void Remove(Time at, std::uint64_t id) {
    Lock lock(mu_);
    deadlines_.erase(std::pair(at, id));
  }

 private:
  Watchdog() {
    std::thread([this] { Loop(); }).detach();
  }

  void Loop() {
    Lock lock(mu_);
    while (true) {
      sleeps_until_ = deadlines_.empty() ? Time::max() : deadlines_.begin()->first.first;
      if (deadlines_.empty()) {
        wake_.wait(lock.native());
      } else {
        wake_.wait_until(lock.native(), sleeps_until_);
      }
      const Time now = std::chrono::steady_clock::now();
      while (!deadlines_.empty() && deadlines_.begin()->first.first <= now) {
        ::shutdown(deadlines_.begin()->second, SHUT_RDWR);
        deadlines_.erase(deadlines_.begin());
      }
    }
  }

  Mutex mu_;
  std::condition_variable wake_;
  std::map<std::pair<Time, std::uint64_t>, int> deadlines_ GUARDED_BY(mu_);
  std::uint64_t last_id_ GUARDED_BY(mu_) = 0;
  Time sleeps_until_ GUARDED_BY(mu_) = Time::max();
};

}  // namespace

SocketDeadline::SocketDeadline(int socket, std::chrono::milliseconds limit) : id_(0), at_(std::chrono::steady_clock::now() + limit) {
  id_ = Watchdog::Get().Add(socket, at_);
}

SocketDeadline::~SocketDeadline() { Watchdog::Get().Remove(at_, id_); }

}  // namespace tollgate::base
