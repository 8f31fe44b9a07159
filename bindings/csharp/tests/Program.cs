// The library on the real model: RASP_TEST_MODEL=MODEL.rasp RASP_TEST_ABI=tests/abi/x86_64-linux-gnu.txt mono Tests.exe
// with RASP_TEST_ADAPTER (an adapter for it) and RASP_TEST_TOOLS (a tiny model whose template knows tools), of which
// tests/bindings/models.py makes the parts.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;

internal static class Program
{
    internal static readonly string Path = Environment.GetEnvironmentVariable("RASP_TEST_MODEL");
    internal static readonly string AdapterPath = Environment.GetEnvironmentVariable("RASP_TEST_ADAPTER");
    internal static readonly string ToolsPath = Environment.GetEnvironmentVariable("RASP_TEST_TOOLS");
    internal const string Prompt = "The capital of France is";

    private static int Main(string[] names)
    {
        IEnumerable<MethodInfo> tests = new[] { typeof(LayoutTests), typeof(ModelTests), typeof(SessionTests),
            typeof(AnswerTests), typeof(AdapterTests), typeof(ChatTests), typeof(CallbackTests), typeof(ThreadTests) }
            .SelectMany(kind => kind.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(test => names.Length == 0 || names.Contains(test.Name));
        int passed = 0, failed = 0;
        foreach (MethodInfo test in tests)
        {
            try
            {
                test.Invoke(null, null);
                passed++;
            }
            catch (TargetInvocationException exception)
            {
                failed++;
                Console.Error.WriteLine($"{test.DeclaringType.Name}.{test.Name}: {exception.InnerException}");
            }
        }
        Console.WriteLine($"{passed} passed, {failed} failed");
        return passed == 0 || failed > 0 ? 1 : 0;
    }
}
