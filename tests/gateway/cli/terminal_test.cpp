// What others wrote acts on no terminal, whichever command prints it; into files and pipes it goes as it is.
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/cli/terminal.h"
#include "tests/gateway/cli/fake_services.h"

using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

namespace {

// Sets the clipboard and hides what follows, by escapes of 7 and of 8 bits, goes back to the line's start, and turns it around.
const std::string kHostile = "a\x1b]52;c;ZXZpbA==\x07\u009b8mb\rc\u202ed";
const std::string kTame = "a?]52;c;ZXZpbA==??8mb?c?d";

bool Acts(const std::string& text) {
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == '\x7f') return true;
  }
  return text.find("\u009b") != std::string::npos || text.find("\u202e") != std::string::npos;
}

}  // namespace

TEST_CASE("What a model, a policy's author or an org's admin wrote acts on no terminal") {
  Server server;
  server.inference.pieces = {"x", kHostile};
  server.inference.because = kHostile;
  server.defaults.system_prompt = kHostile;
  server.policy.warning = kHostile;
  server.policy.yaml = "# " + kHostile + "\r\nrules: []\r\n";
  const std::vector<std::vector<std::string>> lines = {{"chat", "hello"},
                                                       {"chat", "cut"},
                                                       {"defaults", "show", "--team", "search", "--org", "acme"},
                                                       {"policy", "put", "-", "--name", "acme"},
                                                       {"policy", "lint"},
                                                       {"policy", "show", "acme"}};
  for (const std::vector<std::string>& line : lines) {
    INFO(line[0] << " " << line[1]);
    const Result shown = server.Run(line, "rules: []", true);
    CHECK_FALSE(Acts(shown.out + shown.err));
    CHECK_THAT(shown.out + shown.err, ContainsSubstring(kTame));
    const Result piped = server.Run(line, "rules: []");
    CHECK_THAT(piped.out + piped.err, ContainsSubstring(kHostile));
  }
  CHECK(server.Run({"policy", "show", "acme"}, "", true).out == "# " + kTame + "\nrules: []\n");
  CHECK(server.Run({"policy", "show", "acme"}).out == server.policy.yaml);
  CHECK(server.Run({"chat", "hello"}).out == "x" + kHostile + "\n");
}

TEST_CASE("A refusal's words, whoever answers at the address, act on no terminal") {
  Server server;
  server.policy.refusal = grpc::Status(grpc::StatusCode::PERMISSION_DENIED, kHostile);
  const Result refused = server.Run({"policy", "put", "-", "--name", "acme"}, "rules: []", true);
  CHECK(refused.code == kRefused);
  CHECK(refused.err == "tollgate: " + kTame + "\n");
}

TEST_CASE("Of text that comes in pieces each character is looked at whole") {
  std::ostringstream out;
  {
    Terminal terminal(out, true);
    std::ostream& stream = terminal.stream();
    for (const char c : std::string("é\u009b|\r\n日\t")) stream << c << std::flush;
    CHECK(out.str() == "é?|\n日\t");
    stream << "a\r" << std::flush << "b";
    stream << "\xe2\x80" << std::flush;
  }
  CHECK(out.str() == "é?|\n日\ta?b??");  // What was never finished is none.
}

TEST_CASE("What is no terminal gets every byte") {
  std::ostringstream out;
  Terminal pipe(out, false);
  pipe.stream() << kHostile << "\xe2\x80";
  CHECK(out.str() == kHostile + "\xe2\x80");
}
