// What is asked of a server whose name nobody looks up. This program's getaddrinfo stands in for the system's, libcurl's threads included.
#include <dlfcn.h>
#include <netdb.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string_view>

#include <catch2/catch_test_macros.hpp>

#include "base/http_client.h"

namespace {

constexpr std::string_view kSlow = "slow.example";

// Names are looked up one by one; whoever looks one up waits until the test opens, or too long.
struct Lookups {
  std::mutex mu;
  std::condition_variable changed;
  int begun = 0;
  int ended = 0;
  bool open = false;
};
Lookups& All() {
  static auto& lookups = *new Lookups;
  return lookups;
}

}  // namespace

extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** found) {
  if (name == nullptr || name != kSlow) {
    static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return real(name, service, hints, found);
  }
  Lookups& all = All();
  std::unique_lock lock(all.mu);
  ++all.begun;
  all.changed.notify_all();
  all.changed.wait_for(lock, std::chrono::seconds(20), [&] { return all.open; });
  ++all.ended;
  all.changed.notify_all();
  return EAI_AGAIN;
}

namespace tollgate::base {
namespace {

using std::chrono::milliseconds;

struct End final : HttpSink {
  bool OnBody(int, std::string_view) override { return true; }
  void OnRetryAfter(std::chrono::seconds) override {}
  void OnEnd(int, const absl::Status& s) override { status = s; }
  std::optional<absl::Status> status;
};

int Ended() {
  std::lock_guard lock(All().mu);
  return All().ended;
}

TEST_CASE("Whatever ends while its server's name is still looked up ends at once, and holds up nothing else") {
  HttpClientOptions options;
  options.connect_timeout = milliseconds(50);
  auto client = *HttpClient::Create(options);
  HttpRequest request;
  request.url = "http://slow.example:1/";
  End late, cancelled;
  client->Start(request, late);
  while (!late.status) client->Run(milliseconds(10));  // It has run out of time: nobody answered.
  CHECK(absl::IsUnavailable(*late.status));
  CHECK(Ended() == 0);

  options.connect_timeout = std::chrono::minutes(10);
  auto patient = *HttpClient::Create(options);
  const std::int64_t number = patient->Start(request, cancelled);
  patient->Run(milliseconds(0));
  {
    std::unique_lock lock(All().mu);
    REQUIRE(All().changed.wait_for(lock, std::chrono::seconds(10), [] { return All().begun == 2; }));
  }
  patient->Cancel(number);
  CHECK(Ended() == 0);
  patient.reset();
  client.reset();
  CHECK(Ended() == 0);
  {
    std::unique_lock lock(All().mu);
    All().open = true;
    All().changed.notify_all();
    REQUIRE(All().changed.wait_for(lock, std::chrono::seconds(10), [] { return All().ended == All().begun; }));
  }
}

}  // namespace
}  // namespace tollgate::base
