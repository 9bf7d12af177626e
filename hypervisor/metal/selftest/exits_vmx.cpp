// The VMX instructions and the descriptor-table instructions in a guest: always the exit, with the
// operand taken apart in qualification and instruction information.
// SDM vol. 3C, "Information for VM Exits Due to Instruction Execution".
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(g_vmclear, "", "vmclear 0x123456(%rbx,%rcx,4)", "");
CUPEL_GUEST(g_vmptrld, "", "vmptrld -0x10(%rbp)", "");
CUPEL_GUEST(g_vmptrst, "", "vmptrst 0x7fffffff(%r12)", "");
CUPEL_GUEST(g_vmxon, "", "vmxon %fs:(%r8,%r15,8)", "");
CUPEL_GUEST(g_vmxon32, "", "addr32 vmxon 0x20(%eax,%edx,2)", "");
CUPEL_GUEST(g_absolute, "", "vmptrld 0x1234", "");
CUPEL_GUEST(g_rsp, "", "vmptrld 8(%rsp)", "");
CUPEL_GUEST(g_vmread_reg, "", "vmread %rdx, %r9", "");
CUPEL_GUEST(g_vmread_mem, "", "vmread %r10, 0x8(%rdi)", "");
CUPEL_GUEST(g_vmwrite_reg, "", "vmwrite %r14, %rcx", "");
CUPEL_GUEST(g_vmwrite_mem, "", "vmwrite 0x18(%rsi,%rax), %rbx", "");
CUPEL_GUEST(g_vmlaunch, "", "vmlaunch", "");
CUPEL_GUEST(g_vmresume, "", "vmresume", "");
CUPEL_GUEST(g_vmxoff, "", "vmxoff", "");
CUPEL_GUEST(g_invept, "", "invept (%rax), %r11", "");
CUPEL_GUEST(g_invvpid, "", "invvpid 0x100(%rcx), %rdx", "");

constexpr uint32_t kMemory = info::memory_mask;
// Where there is no index register its number is not defined.
constexpr uint32_t kNoIndex = info::memory_mask & ~info::index(Gpr::r15);
constexpr uint32_t kAbsolute = kNoIndex & ~info::base(Gpr::r15);
constexpr uint32_t kRegisters = info::is_register | 0x78 | info::reg2_mask;

constexpr ExitRow kVmx[] = {
    {"vmclear",
     g_vmclear,
     {},
     ExitReason::vmclear,
     0x123456,
     kMemory,
     info::scale(2) | info::address64 | info::segment(Seg::ds) | info::index(Gpr::rcx) |
         info::base(Gpr::rbx)},
    {"vmptrld",
     g_vmptrld,
     {},
     ExitReason::vmptrld,
     ~0ull - 0xf,
     kNoIndex,
     info::address64 | info::segment(Seg::ss) | info::no_index | info::base(Gpr::rbp)},
    {"vmptrst",
     g_vmptrst,
     {},
     ExitReason::vmptrst,
     0x7fffffff,
     kNoIndex,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::r12)},
    {"vmxon",
     g_vmxon,
     {},
     ExitReason::vmxon,
     0,
     kMemory,
     info::scale(3) | info::address64 | info::segment(Seg::fs) | info::index(Gpr::r15) |
         info::base(Gpr::r8)},
    {"vmxon_address_32",
     g_vmxon32,
     {},
     ExitReason::vmxon,
     0x20,
     kMemory,
     info::scale(1) | info::address32 | info::segment(Seg::ds) | info::index(Gpr::rdx) |
         info::base(Gpr::rax)},
    {"vmptrld_absolute",
     g_absolute,
     {},
     ExitReason::vmptrld,
     0x1234,
     kAbsolute & ~3u,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::no_base},
    {"vmptrld_stack",
     g_rsp,
     {},
     ExitReason::vmptrld,
     8,
     kNoIndex,
     info::address64 | info::segment(Seg::ss) | info::no_index | info::base(Gpr::rsp)},
    {"vmread_register",
     g_vmread_reg,
     {},
     ExitReason::vmread,
     0,
     kRegisters,
     info::is_register | info::reg1(Gpr::r9) | info::reg2(Gpr::rdx)},
    {"vmread_memory",
     g_vmread_mem,
     {},
     ExitReason::vmread,
     8,
     kNoIndex | info::reg2_mask,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rdi) |
         info::reg2(Gpr::r10)},
    {"vmwrite_register",
     g_vmwrite_reg,
     {},
     ExitReason::vmwrite,
     0,
     kRegisters,
     info::is_register | info::reg1(Gpr::r14) | info::reg2(Gpr::rcx)},
    {"vmwrite_memory",
     g_vmwrite_mem,
     {},
     ExitReason::vmwrite,
     0x18,
     kMemory | info::reg2_mask,
     info::address64 | info::segment(Seg::ds) | info::index(Gpr::rax) | info::base(Gpr::rsi) |
         info::reg2(Gpr::rbx)},
    {"vmlaunch", g_vmlaunch, {}, ExitReason::vmlaunch},
    {"vmresume", g_vmresume, {}, ExitReason::vmresume},
    {"vmxoff", g_vmxoff, {}, ExitReason::vmxoff},
    {"invept",
     g_invept,
     {.secondary = proc2::enable_ept},
     ExitReason::invept,
     0,
     kNoIndex | info::reg2_mask,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rax) |
         info::reg2(Gpr::r11)},
    {"invvpid",
     g_invvpid,
     {.secondary = proc2::enable_vpid},
     ExitReason::invvpid,
     0x100,
     kNoIndex | info::reg2_mask,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rcx) |
         info::reg2(Gpr::rdx)},
};

CUPEL_GUEST(g_sgdt, "", "sgdt 0x40(%rbx)", "");
CUPEL_GUEST(g_sidt, "", "sidt (%rdx,%rsi,2)", "");
CUPEL_GUEST(g_lgdt, "", "lgdt 0x11(%r9)", "");
CUPEL_GUEST(g_lidt, "", "lidt -1(%rcx)", "");
CUPEL_GUEST(g_sldt, "", "sldt %ecx", "");
CUPEL_GUEST(g_str, "", "str 0x30(%rax)", "");
CUPEL_GUEST(g_lldt, "xor %edx, %edx", "lldt %dx", "");
CUPEL_GUEST(g_ltr, "mov $0x30, %esi", "ltr %si", "");

constexpr Controls kTables{.secondary = proc2::descriptor_table_exiting};
constexpr uint32_t kTableNoIndex = kNoIndex | info::identity_mask;
constexpr uint32_t kTableRegister = info::is_register | 0x78 | info::identity_mask;

constexpr ExitRow kDescriptorTables[] = {
    {"sgdt", g_sgdt, kTables, ExitReason::gdtr_idtr_access, 0x40, kTableNoIndex,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rbx) |
         info::identity(0)},
    {"sidt", g_sidt, kTables, ExitReason::gdtr_idtr_access, 0, kMemory | info::identity_mask,
     info::scale(1) | info::address64 | info::segment(Seg::ds) | info::index(Gpr::rsi) |
         info::base(Gpr::rdx) | info::identity(1)},
    {"lgdt", g_lgdt, kTables, ExitReason::gdtr_idtr_access, 0x11, kTableNoIndex,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::r9) |
         info::identity(2)},
    {"lidt", g_lidt, kTables, ExitReason::gdtr_idtr_access, ~0ull, kTableNoIndex,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rcx) |
         info::identity(3)},
    {"sldt", g_sldt, kTables, ExitReason::ldtr_tr_access, 0, kTableRegister,
     info::is_register | info::reg1(Gpr::rcx) | info::identity(0)},
    {"str", g_str, kTables, ExitReason::ldtr_tr_access, 0x30, kTableNoIndex,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rax) |
         info::identity(1)},
    {"lldt", g_lldt, kTables, ExitReason::ldtr_tr_access, 0, kTableRegister,
     info::is_register | info::reg1(Gpr::rdx) | info::identity(2)},
    {"ltr", g_ltr, kTables, ExitReason::ldtr_tr_access, 0, kTableRegister,
     info::is_register | info::reg1(Gpr::rsi) | info::identity(3)},
};

}  // namespace

void test_exits_vmx(Tap& tap, Lab& lab) {
  test_rows(tap, lab, "exit.vmx", kVmx);
  test_rows(tap, lab, "exit.descriptor_table", kDescriptorTables);
}

}  // namespace cupel::metal
