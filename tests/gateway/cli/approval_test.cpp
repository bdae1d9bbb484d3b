#include "tests/gateway/cli/fake_services.h"

TEST_CASE("What waits for a second person is listed, and approved with a reason") {
  Server server;
  const Result listed = server.Run({"policy", "approvals"});
  CHECK(listed.code == 0);
  CHECK(listed.out.find("dump") != std::string::npos);
  CHECK(listed.out.find("one request") != std::string::npos);
  CHECK(listed.out.find("pending") != std::string::npos);
  CHECK(listed.out.find("01937c2e-7777-7bb0-a3f5-3c1f0a2b4d5e") != std::string::npos);  // Whose prompt it is.
  const Result approved = server.Run({"policy", "approve", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--reason", "incident 12"});
  CHECK(approved.out == "key 3kQ9xZ0b may pass rule dump for 30 minutes\n");
  CHECK(server.policy.approve.reason() == "incident 12");
  CHECK(server.Run({"policy", "approve", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e"}).code != 0);
  const Result revoked = server.Run({"policy", "revoke-approval", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--reason", "over"});
  CHECK(revoked.out == "key 3kQ9xZ0b may pass rule dump no more\n");
  CHECK(server.policy.revoke_approval.reason() == "over");
  const Result down = server.Run({"policy", "revoke-approval", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--reason", "not this"});
  CHECK(down.out == "turned down: key 3kQ9xZ0b may not pass rule dump\n");
}
