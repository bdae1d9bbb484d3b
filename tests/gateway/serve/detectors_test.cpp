#include "gateway/serve/detectors.h"

#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "gateway/config/config.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Detectors come from the configuration with its defaults, and their secret from a file that nobody else reads") {
  test::TempDir dir;
  v1::Config config;
  v1::Config::Detector& detector = *config.add_detectors();
  detector.set_name("toxicity");
  detector.set_url("https://guard.internal/judge");
  config::FillDefaults(config);
  auto made = serve::DetectorsFrom(config);
  REQUIRE(made.ok());
  REQUIRE(made->size() == 1);
  CHECK((*made)[0].name == "toxicity");
  CHECK((*made)[0].url == "https://guard.internal/judge");
  CHECK((*made)[0].bearer.empty());
  CHECK((*made)[0].deadline == std::chrono::seconds(2));
  CHECK((*made)[0].running_max == 64);
  CHECK((*made)[0].failures_max == 5);
  const std::string file = dir.File("bearer");
  REQUIRE(base::WriteFileAtomically(file, "s3cret\n", 0600).ok());
  config.mutable_detectors(0)->set_bearer_file(file);
  CHECK((*serve::DetectorsFrom(config))[0].bearer == "s3cret");
  REQUIRE(::chmod(file.c_str(), 0644) == 0);
  CHECK_THAT(base::Message(serve::DetectorsFrom(config).status()),
             ContainsSubstring("detectors.bearer_file") && ContainsSubstring("chmod 600"));
}

TEST_CASE("A detector beyond this machine that is asked in clear is known for one") {
  for (const char* url : {"http://guard.internal/judge", "http://10.0.0.7:80", "grpc://guard:9000", "http://127.0.0.1.evil.example/",
                          "http://localhost.evil/"}) {
    INFO(url);
    CHECK(serve::GoesInClear(url));
  }
  for (const char* url : {"https://guard.internal/judge", "grpcs://guard:9000", "http://127.0.0.1:8000/judge", "http://localhost/judge",
                          "grpc://[::1]:9000"}) {
    INFO(url);
    CHECK_FALSE(serve::GoesInClear(url));
  }
}
