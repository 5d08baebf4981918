// The rows of the command table, one function per command; see table.cc.
#pragma once

#include "base/json.h"
#include "cli/command.h"
#include "plan/claims.h"

namespace consort::cli {

Command agent_command();
Command apply_command();
Command audit_command();
Command check_command();
Command complete_command();
Command completions_command();
Command context_list_command();
Command context_renew_command();
Command context_remove_command();
Command context_show_command();
Command context_use_command();
Command controller_admin_command();
Command controller_command();
Command controller_init_command();
Command demo_client_command();
Command demo_command();
Command deploy_command();
Command diff_command();
Command docs_command();
Command explain_command();
Command graph_command();
Command history_command();
Command host_approve_command();
Command host_install_command();
Command host_list_command();
Command host_remove_command();
Command host_revoke_command();
Command host_show_command();
Command init_command();
Command key_create_command();
Command key_list_command();
Command key_show_command();
Command key_sign_command();
Command key_trust_command();
Command lab_cut_command();
Command lab_down_command();
Command lab_exec_command();
Command lab_heal_command();
Command lab_keep_command();
Command lab_kill_command();
Command lab_reboot_command();
Command lab_run_command();
Command lab_start_command();
Command lab_status_command();
Command lab_stop_command();
Command lab_up_command();
Command login_command();
Command logs_command();
Command operator_create_command();
Command operator_grant_command();
Command operator_list_command();
Command operator_revoke_command();
Command operator_token_command();
Command plan_command();
Command requisites_command();
Command rollback_command();
Command rollout_abort_command();
Command rollout_list_command();
Command rollout_pause_command();
Command rollout_resume_command();
Command rollout_show_command();
Command secret_encrypt_command();
Command secret_key_command();
Command secret_list_command();
Command secret_remove_command();
Command secret_reseal_command();
Command secret_rotate_command();
Command secret_set_command();
Command secret_sync_command();
Command status_command();
Command token_create_command();
Command token_list_command();
Command token_revoke_command();
Command version_command();

// As `rollout list` and `history` show them; "" when there is none. Of the answer to /v1/rollouts.
[[nodiscard]] std::string rollout_table(const Json& rollouts);

}  // namespace consort::cli
